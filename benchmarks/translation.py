"""Fit the translator on Multi30k, German to English, and score its test part of 2016.

    .venv/bin/python benchmarks/translation.py ../shared/data/text/multi30k

The folder holds train, val and test_2016_flickr, each as .de.gz and .en.gz. It is fitted on train,
stopped by val, and the test part is scored once a seed: BLEU and chrF by sacreBLEU on the texts as
they are, and sentences a second with the greedy search. Prints a line a seed and writes JSON.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import torch

from noria import Translator
from noria.features.text import read_lines

GOALS = {"bleu": 28.3, "aim": 34.0, "greedy sentences/s": 200}


def score(
    folder: Path,
    seed: int,
    steps: int | None,
    fnn: bool,
    model: Path | None,
    checkpoint: Path | None,
) -> dict:
    def files(part: str) -> tuple[Path, Path]:
        return folder / f"{part}.de.gz", folder / f"{part}.en.gz"

    started, cpu = time.monotonic(), time.process_time()
    baselines = ("fnn", "lexicon") if fnn else ("lexicon",)
    translator = Translator(steps=steps, baselines=baselines, seed=seed)
    translator.fit(
        *files("train"),
        validation=files("val"),
        test=files("test_2016_flickr"),
        checkpoint=checkpoint and checkpoint.with_name(f"{checkpoint.name}-{seed}"),
        resume=checkpoint is not None,
        progress=True,
    )
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu
    if model is not None:
        translator.save(model)
    assert translator.comparison_ is not None
    own, *rivals = translator.comparison_.scores
    sources = read_lines(files("test_2016_flickr")[0])
    greedy = translator.set_params(beam_size=1)
    started = time.perf_counter()
    greedy.predict(sources)
    return {
        "seed": seed,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "training_seconds": translator.network_.history.seconds,
        "best_step": translator.network_.history.best_step,
        "parameters": own.parameters,
        "history": translator.network_.history.validation,
        "metrics": own.metrics(),
        "baselines": {rival.model: rival.metrics() for rival in rivals},
        "signatures": translator.comparison_.notes,
        "beam sentences/s": own.sentences_per_second,
        "greedy sentences/s": len(sources) / (time.perf_counter() - started),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--no-fnn", action="store_true", help="leave the feed-forward rival out")
    parser.add_argument(
        "--checkpoint", type=Path, help="keep the trainings' states here, and go on from them"
    )
    parser.add_argument("--model", type=Path, help="keep the last model here")
    parser.add_argument("--output", type=Path, default=Path("translation.json"))
    options = parser.parse_args()
    results = []
    for seed in options.seeds:
        results.append(
            score(
                options.folder,
                seed,
                options.steps,
                not options.no_fnn,
                options.model,
                options.checkpoint,
            )
        )
        print(json.dumps(results[-1]), flush=True)
    machine = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    document = {"machine": machine, "goals": GOALS, "results": results}
    options.output.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
