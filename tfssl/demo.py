"""`make demo`: the whole line once on the toy world, in a few minutes and without network."""

import shutil
from pathlib import Path

import click

import tfssl
from tfssl.cli import main as command_line

FOLDER = Path("runs/demo")
TRAIN = "toy:images(count=3000)"
TEST = "toy:images(count=1000, start=3000)"  # other scenes of the same world


def main(folder: Path = FOLDER, train: str = TRAIN, test: str = TEST, epochs: int = 8) -> None:
    """Pretrain, evaluate, export and draw into `folder`, and print where everything is.

    A demo that is there already is made anew; any other folder of that name is left alone.

    Args:
      folder: where the run, the report, the picture and the model go.
      train: a labelled source; its labels are for the evaluation only.
      test: another one, with the same classes.
      epochs: of pretraining.

    Raises:
      UserError: `folder` is there and is no run.
    """
    from tfssl.report.page import write_report
    from tfssl.runs.evaluation import best_stage

    if folder.exists():
        if not (folder / "run.json").is_file():
            raise tfssl.UserError(f"{folder} is there and is no run; move it away, the demo writes there")
        shutil.rmtree(folder)
    say(f"pretraining on {train}: which way is up?")
    run = tfssl.pretrain(
        train, tasks="rotation", trunk="resnet10(width=16)", size=32, epochs=epochs, out=folder, report=False
    )
    say("what the features are worth: linear probe and k-NN on each stage, beside random weights")
    evaluation = tfssl.evaluate(run, train, test=test)
    print(evaluation)
    say("exporting, and checking the export against its golden vectors")
    exported = tfssl.export(run, folder / "model")
    print(exported)
    print(tfssl.check(exported.saved_model))
    shown = tfssl.show(test, to=folder / "puzzles.png", run=run)
    report = write_report(run)

    best = evaluation.trained[evaluation.main][evaluation.best_stage].top1
    rivals = evaluation.random[evaluation.main]
    random = rivals[best_stage(rivals)].top1
    accuracy = run.result["metrics"]["rotation_accuracy"]
    say("done")
    print(f"puzzles:    {', '.join(map(str, shown.files.values()))}")
    print(f"report:     {report}")
    print(f"SavedModel: {exported.saved_model}")
    print(
        f"figures:    rotation {accuracy:.1%} (chance 25 %), linear probe {best:.1%} on {evaluation.best_stage}, "
        f"random weights {random:.1%}"
    )


def say(line: str) -> None:
    """Print the headline of a part."""
    print(f"\n== {line}", flush=True)


if __name__ == "__main__":
    # As one of the commands, which keep TensorFlow quiet and tell the user's errors in one line.
    command_line.cli.add_command(click.command("demo")(main))
    command_line.main(["demo"])
