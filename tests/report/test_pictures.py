from __future__ import annotations

from noria.report.pictures import draw_learning


def learned(*losses: float) -> dict[str, object]:
    """The axis of a training with these losses."""
    history = {
        "step": list(range(len(losses))),
        "training": list(losses),
        "validation": list(losses),
        "best_step": 0,
    }
    return dict(draw_learning({"network": history})["layout"]["yaxis"])


def test_a_logarithmic_axis_is_written_out() -> None:
    axis = learned(1.7, 0.04)
    assert axis["type"] == "log"
    assert axis["tickvals"] == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
    assert axis["ticktext"] == [f"{value:g}" for value in axis["tickvals"]]
    assert axis["ticktext"][3:6] == ["0.1", "0.2", "0.5"]
    assert learned(1e4, 1e-4)["ticktext"] == [
        *("0.0001", "0.001", "0.01", "0.1", "1", "10", "100", "1000", "10000"),
    ]


def test_losses_that_are_near_or_below_zero_stand_on_a_linear_one() -> None:
    assert "tickvals" not in learned(1.7, 0.4)
    assert "tickvals" not in learned(1.7, -0.04)
