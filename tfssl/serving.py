"""The client of served encoders, by the name under which users look for it."""

from tfssl.export.client.answers import Model, ServingError, Signature, Spec
from tfssl.export.client.client import Classes, Client, InvalidRowsError

__all__ = ["Classes", "Client", "InvalidRowsError", "Model", "ServingError", "Signature", "Spec"]
