"""Running trained models without torch: the model file."""

from noria.runtime.model_file import ModelFile, plain_value, read_model, write_model

__all__ = ["ModelFile", "plain_value", "read_model", "write_model"]
