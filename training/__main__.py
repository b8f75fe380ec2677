"""The steps, one command each: `python -m training corpus | train | export | compare | evaluate`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from training import places


def main() -> None:
    """Run the step that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    corpus = steps.add_parser("corpus", help="train the tokenizer and make the examples")
    corpus.add_argument("--examples", type=int, default=places.N_EXAMPLES)
    draw = steps.add_parser("draw", help="make the examples anew, for the passes of a training that come next")
    draw.add_argument("--times", type=int, default=1)
    draw.add_argument("--examples", type=int, default=places.N_EXAMPLES)
    for step in (corpus, draw):
        step.add_argument("--elder", type=Path, help="ask the network of an earlier training, too: its build folder")
    train = steps.add_parser("train", help="train the network, from the last checkpoint where there is one")
    train.add_argument("--tokens", type=int, default=places.N_TOKENS)
    train.add_argument("--minutes", type=float, default=math.inf, help="end after so many, if that comes earlier")
    train.add_argument("--from", dest="earlier", type=Path, help="begin with the weights of this exported file")
    train.add_argument("--threads", type=int, default=0)
    train.add_argument("--compiled", action="store_true", help="with each layer compiled: faster after half a minute")
    export = steps.add_parser("export", help="write the GGUF file that is shipped")
    export.add_argument("--to", type=Path, default=places.SHIPPED)
    export.add_argument("--kind", choices=("q8_0", "f32"), default="q8_0")
    steps.add_parser("compare", help="compare logits, answers and tokens of llama.cpp with PyTorch's")
    evaluate = steps.add_parser("evaluate", help="ask the questions of eval/ and count the right topics")
    evaluate.add_argument("--model", type=Path, default=places.SHIPPED)
    evaluate.add_argument("--temperature", type=float, default=0.2)
    evaluate.add_argument("--held-out", action="store_true", help="ask messages that are kept out of training instead")
    evaluate.add_argument("--bare", action="store_true", help="draw from all tokens, without top-k, top-p and min-p")
    evaluate.add_argument("--answers", type=Path, help="write every question, answer and verdict here")
    choices = steps.add_parser("choices", help="how open the next token is at several temperatures")
    choices.add_argument("--model", type=Path, default=places.SHIPPED)
    steps.add_parser("leaks", help="name the questions of eval/ that training has seen")
    arguments = parser.parse_args()
    match arguments.step:
        case "corpus":
            from training import dataset, tokenizer

            tokenizer.train()
            dataset.make(arguments.examples, arguments.elder)
        case "draw":
            from training import dataset

            dataset.draw(arguments.times, arguments.examples, arguments.elder)
        case "train":
            from training.train import train as learn

            learn(
                arguments.tokens,
                earlier=arguments.earlier,
                minutes=arguments.minutes,
                is_compiled=arguments.compiled,
                n_threads=arguments.threads,
            )
        case "export":
            from training.export import export as write

            write(arguments.to, arguments.kind)
        case "compare":
            from training.compare import compare

            compare()
        case "evaluate":
            from training.evaluate import evaluate as ask

            ask(
                arguments.model,
                arguments.temperature,
                held_out=arguments.held_out,
                bare=arguments.bare,
                answers=arguments.answers,
            )
        case "choices":
            from training.choices import choices as measure

            measure(arguments.model)
        case "leaks":
            from training.evaluate import leaks

            for line in leaks():
                print(line)


main()
