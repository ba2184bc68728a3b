from __future__ import annotations

import numpy as np

from noria.training.members import repeated


def test_held_out_cases_that_were_learned_from_are_counted() -> None:
    cases, folds = ["a", "b", "a", "c", "c", "d", "b"], np.array([0, 0, 1, 1, 1, 2, 2])
    (note,) = repeated(cases, folds, 2)  # a in both, b also in the third; c within one fold alone
    assert note.startswith("3 of the 5 held-out cases stand word for word among those learned from")
    assert repeated(cases, folds, 1)[0].startswith("2 of the 2 ")
    assert repeated(["c", "c"], np.array([0, 0]), 2) == []
    (note,) = repeated(cases, folds, 2, ["d", "e", "d"])
    assert note.startswith("2 of the 3 ")
    assert repeated(cases, folds, 2, ["e", "e"]) == []
