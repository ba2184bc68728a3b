"""Running trained models without torch: the model file, and sessions that stream."""

from noria.runtime.model_file import ModelFile, plain_value, read_model, write_model
from noria.runtime.session import Outcome, Session, StreamState
from noria.runtime.stepper import NetworkStepper

__all__ = [
    "ModelFile",
    "NetworkStepper",
    "Outcome",
    "Session",
    "StreamState",
    "plain_value",
    "read_model",
    "write_model",
]
