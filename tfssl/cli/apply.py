"""Commands: what a run can paint and find."""

from typing import Any

import click

import tfssl
from tfssl.cli.options import JSON, cli, run


@cli.command()
@click.argument("run")
@click.argument("pictures", nargs=-1, required=True)
@click.option(
    "--mask",
    default="centre",
    show_default=True,
    help="What to paint: a picture (white = hole), a folder of these by name, TOP,LEFT,HEIGHT,WIDTH, or centre.",
)
@click.option("--to", required=True, help="Folder for the painted pictures, as PNG.")
@JSON
def inpaint(as_json: bool, **arguments: Any) -> None:
    """Paint holes of pictures by a run's inpainting; the rest of each comes back as it was.

    PICTURES are files and folders, of any size.
    """
    run(as_json, lambda: tfssl.inpaint(**arguments))


@cli.command()
@click.argument("run")
@click.argument("pictures", nargs=-1, required=True)
@click.option("--to", required=True, help="Folder for the coloured pictures, as PNG, and films, as MP4.")
@click.option("--draws", default=1, show_default=True, help="Colourings of each; for runs of colorization(diverse=K).")
@click.option("--temperature", type=float, help="Lower is more colourful; the task's own, 0.38, where not given.")
@JSON
def colorize(as_json: bool, **arguments: Any) -> None:
    """Colour grey pictures and films at their own size by a run's colorization; their lightness stays.

    PICTURES are files and folders, of any size; films need the extra 'video'.
    """
    run(as_json, lambda: tfssl.colorize(**arguments))


@cli.command()
@click.argument("run")
@click.argument("clip")
@click.option("--to", help="heat.mp4 for the film with its sound, heat.png for eight frames.")
@JSON
def localise(as_json: bool, **arguments: Any) -> None:
    """Draw where in the picture the sound comes from.

    `evaluate-localisation` measures how often that is right. RUN was trained on 'audio_visual(fusion="localise")'.
    Needs the extra 'video'.
    """
    run(as_json, lambda: tfssl.localise(**arguments))


@cli.command()
@click.argument("run")
@click.argument("clip")
@click.option("--mask", help="Of the first frame: a picture (white = follow) or TOP,LEFT,HEIGHT,WIDTH.")
@click.option("--to", help="out.mp4 for the film, or a folder for its frames and masks, as PNG.")
@click.option("--recent", default=4, show_default=True, help="Newest frames to copy from, beside the first.")
@click.option("--most", default=10, show_default=True, help="Of all places, how many of the most similar count.")
@click.option("--temperature", default=0.5, show_default=True, help="Lower takes more from the most similar of these.")
@click.option("--reach", default=6, show_default=True, help="Cells that a place may move between frames.")
@JSON
def track(as_json: bool, **arguments: Any) -> None:
    """Follow what a mask shows through a film, and draw it over the frames.

    `evaluate-tracking` measures how well. RUN was trained on 'tracking'. Needs the extra 'video'.
    """
    run(as_json, lambda: tfssl.track(**arguments))
