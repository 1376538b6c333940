"""A retraining on the terminal: a bar for the stage that runs, or a line for each that is done."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class TrainingView:
    """Shows the epochs of every stage of every seed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[tuple[int, str], TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("validation {task.fields[accuracy]:.4f}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "TrainingView":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def report(self, seed: int, stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        """Take a step, as `searcher.retrain.retrain` reports it."""
        name = f"seed {seed}, {stage}"
        if not self._console.is_terminal:
            if epoch == epochs:
                unit = "epoch" if epochs == 1 else "epochs"
                text = f"{name}: {epochs} {unit}, validation {accuracy:.4f}"
                self._console.print(text, highlight=False)
            return
        if (seed, stage) not in self._bars:
            self._bars[seed, stage] = self._progress.add_task(name, total=epochs, accuracy=accuracy)
        self._progress.update(self._bars[seed, stage], completed=epoch, accuracy=accuracy)
