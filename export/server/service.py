"""What both protocols answer in the same way: which version is meant, its signatures, the state of all versions.

Requests and answers are the messages of TensorFlow Serving, which gRPC sends as they are and REST as JSON.
"""

import grpc
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from tfssl.export.server.errors import RequestError, invalid
from tfssl.export.server.executor import Work

SIGNATURES = "signature_def"
"""The one field of metadata that there is."""


def metadata(
    work: Work, request: get_model_metadata_pb2.GetModelMetadataRequest, _: float = 0.0
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Answer GetModelMetadata. Raise RequestError."""
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURES:
            raise invalid(f"Metadata field {field} is not supported")
    answer = get_model_metadata_pb2.GetModelMetadataResponse()
    with work.versions.use(version_of(work, request.model_spec)) as model:
        answer.model_spec.name, answer.model_spec.version.value = work.versions.name, model.number
        answer.metadata[SIGNATURES].Pack(get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_def))
    return answer


def status(
    work: Work, request: get_model_status_pb2.GetModelStatusRequest, _: float = 0.0
) -> get_model_status_pb2.GetModelStatusResponse:
    """Answer GetModelStatus. Raise RequestError."""
    number = version_of(work, request.model_spec)
    statuses = [each for each in work.versions.statuses() if number in (None, each.number)]
    if not statuses:
        of = "any versions" if number is None else f"version {number}"
        raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find {of} of model {work.versions.name}")
    answer = get_model_status_pb2.GetModelStatusResponse()
    for each in statuses:
        one = answer.model_version_status.add(version=each.number, state=each.state)
        code = grpc.StatusCode.UNKNOWN if each.problem else grpc.StatusCode.OK
        one.status.error_code, one.status.error_message = code.value[0], each.problem
    return answer


def version_of(work: Work, spec: model_pb2.ModelSpec) -> int | None:
    """Return the number of the version that is asked for; None for the current one. Raise RequestError."""
    if not spec.name:
        raise invalid("ModelSpec has no name specified.")
    if spec.WhichOneof("version_choice") == "version_label":
        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
    number = spec.version.value if spec.HasField("version") else None
    if spec.name != work.versions.name:
        asked = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        raise RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
    return number
