"""Noria: recurrent neural networks, practical.

Names are loaded when they are first used, so that `import noria` brings in neither torch nor
anything else that is slow to start.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noria.cells import (
        GRU,
        LSTM,
        MGU,
        RNN,
        SLSTM,
        CoupledLSTM,
        EquationCell,
        LeakyRNN,
        PeepholeLSTM,
    )
    from noria.errors import NoriaError
    from noria.network import Network
    from noria.runtime import Session
    from noria.tasks.classify import SequenceClassifier
    from noria.tasks.classify_text import TextClassifier
    from noria.tasks.detect import AnomalyDetector
    from noria.tasks.forecast import Forecaster
    from noria.tasks.language import LanguageModel
    from noria.tasks.tag import SequenceTagger
    from noria.tasks.translate import Translator
    from noria.wiring import Wiring

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "MGU",
    "RNN",
    "SLSTM",
    "AnomalyDetector",
    "CoupledLSTM",
    "EquationCell",
    "Forecaster",
    "LanguageModel",
    "LeakyRNN",
    "Network",
    "NoriaError",
    "PeepholeLSTM",
    "SequenceClassifier",
    "SequenceTagger",
    "Session",
    "TextClassifier",
    "Translator",
    "Wiring",
    "__version__",
]

_HOME = {
    "GRU": "noria.cells",
    "LSTM": "noria.cells",
    "MGU": "noria.cells",
    "RNN": "noria.cells",
    "SLSTM": "noria.cells",
    "CoupledLSTM": "noria.cells",
    "EquationCell": "noria.cells",
    "LeakyRNN": "noria.cells",
    "PeepholeLSTM": "noria.cells",
    "AnomalyDetector": "noria.tasks.detect",
    "Forecaster": "noria.tasks.forecast",
    "LanguageModel": "noria.tasks.language",
    "Network": "noria.network",
    "NoriaError": "noria.errors",
    "SequenceClassifier": "noria.tasks.classify",
    "SequenceTagger": "noria.tasks.tag",
    "Session": "noria.runtime",
    "TextClassifier": "noria.tasks.classify_text",
    "Translator": "noria.tasks.translate",
    "Wiring": "noria.wiring",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'noria' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
