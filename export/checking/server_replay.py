"""Golden vectors of an export through a server: does it serve that very version?"""

from collections.abc import Iterable
from pathlib import Path

from tfssl.base.errors import UserError
from tfssl.export.checking.golden import Golden
from tfssl.export.checking.replay import Replay, replay
from tfssl.export.client.answers import list_names
from tfssl.export.client.client import Client
from tfssl.export.client.rows import format_shape
from tfssl.export.deployment.files import model_name


def client_of(version: Path, server: str, name: str | None = None) -> Client:
    """Make a client that asks for the same version as a folder is, by its number.

    Args:
      version: folder of a version: DIR/3.
      server: address, as `Client` takes it.
      name: by which the server knows the model; that of DIR where None.
    """
    version = version.absolute()  # "." has neither a name nor a parent
    number = int(version.name) if version.name.isdecimal() else None
    return Client(server, model=name or model_name(version.parent), version=number)


def replay_on_server(
    client: Client, server: str, golden_of: Path, golden: Golden, signatures: Iterable[str] | None = None
) -> list[Replay]:
    """Call signatures of a server with golden inputs of a version, and compare, as `replay.replay` does.

    Raises:
      UserError: nobody answers, or the model is another one: of another version or name, without such signatures, or
        with answers of another size.
    """
    names = list(golden.answers if signatures is None else signatures)
    served = client.model().signatures
    for name in names:
        another = f"{server} serves another model than {golden_of}:"
        if name not in served:
            raise UserError(f"{another} no signature {name}; its signatures are: {list_names(sorted(served))}")
        for output, rows in golden.answers[name].items():
            spec = served[name].outputs.get(output)
            if spec is None:
                raise UserError(f"{another} {name} returns {list_names(sorted(served[name].outputs))}, no {output}")
            sizes = spec.shape[1:]
            if any(size not in (None, wanted) for size, wanted in zip(sizes, rows.shape[1:], strict=False)):
                has, expected = format_shape(sizes), format_shape(rows.shape[1:])
                raise UserError(f"{another} {output} of {name} has {has} numbers, not {expected}")
    return replay(golden, client.predict, names)
