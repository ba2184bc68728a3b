"""Learn to write from a novel, with three commands: fit, generate, report.

    .venv/bin/python examples/novel.py ../shared/data/text/quijote.txt
    .venv/bin/python examples/novel.py --quick

The text may be any in any language; with --quick it is a made-up one and everything is small, to
see that it works. Everything is left in novel-output/.
"""

import argparse
import random
import subprocess
import sys
from pathlib import Path

FOLDER = Path("novel-output")
MODEL = FOLDER / "novel.noria"
PROMPT = "En un lugar de la Mancha"
QUICK = ["--hidden-size", "32", "--embedding-size", "16", "--steps", "30", "--batch-size", "8"]
LONG = ["--hidden-size", "512", "--dropout", "0.2", "--learning-rate", "2e-3"]


def made_up(sentences: int) -> str:
    """Sentences that all follow one pattern."""
    chance = random.Random(0)
    who = ["el caballero", "su escudero", "la dueña", "el barbero"]
    did = ["miraba", "buscaba", "seguía", "oía"]
    what = ["los molinos", "el camino", "la venta", "las aspas"]
    return "".join(
        f"{chance.choice(who).capitalize()} {chance.choice(did)} {chance.choice(what)}.\n"
        for _ in range(sentences)
    )


def noria(*arguments: object) -> None:
    words = ["noria", *map(str, arguments)]
    print("\n$", " ".join(words), flush=True)
    subprocess.run([sys.executable, "-m", *words], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, nargs="?", help="the novel, plain text")
    parser.add_argument("--quick", action="store_true", help="small, on a made-up text")
    parser.add_argument("--steps", type=int, default=4000, help="training steps of the long run")
    options = parser.parse_args()
    if options.quick == (options.text is not None):
        parser.error("give a text, or --quick")
    FOLDER.mkdir(exist_ok=True)
    text = options.text
    if options.quick:
        text = FOLDER / "made-up.txt"
        text.write_text(made_up(500), encoding="utf-8")
    size = QUICK if options.quick else [*LONG, "--steps", options.steps]
    noria(
        *("fit", "language", text, "--baselines", "kneser_ney", "--resume"),
        *("--output", MODEL, *size),
    )
    noria("generate", MODEL, "--prompt", PROMPT, "--temperature", "0.8", "--length", "400")
    noria("report", MODEL)


if __name__ == "__main__":
    main()
