"""The pretext tasks: one file a task, one line here."""

from collections.abc import Sequence

from tfssl.base.errors import UserError
from tfssl.base.specs import parse_call, split_list, unknown
from tfssl.tasks.audio_visual import AudioVisual
from tfssl.tasks.base import PretextTask
from tfssl.tasks.colorization import Colorization
from tfssl.tasks.contrastive import Contrastive
from tfssl.tasks.frame_filling import FrameFilling
from tfssl.tasks.frame_order import FrameOrder
from tfssl.tasks.inpainting import Inpainting
from tfssl.tasks.jigsaw import Jigsaw
from tfssl.tasks.pirl import Pirl
from tfssl.tasks.redundancy import Redundancy
from tfssl.tasks.relative_position import RelativePosition
from tfssl.tasks.rotation import Rotation
from tfssl.tasks.shuffle_and_learn import ShuffleAndLearn
from tfssl.tasks.tracking import Tracking
from tfssl.tasks.word2vec import Word2Vec

TASKS: dict[str, type[PretextTask]] = {
    task.name: task
    for task in (
        AudioVisual,
        Colorization,
        Contrastive,
        FrameFilling,
        FrameOrder,
        Inpainting,
        Jigsaw,
        Pirl,
        Redundancy,
        RelativePosition,
        Rotation,
        ShuffleAndLearn,
        Tracking,
        Word2Vec,
    )
}


def parse_tasks(tasks: "str | PretextTask | Sequence[str | PretextTask]") -> list[PretextTask]:
    """Parse tasks from text or objects: 'rotation(rotations=8)', ['rotation'], [Rotation()].

    Raises:
      UserError: an unknown task or setting, or a task given twice.
    """
    if isinstance(tasks, str):
        tasks = split_list(tasks)
    elif isinstance(tasks, PretextTask):
        tasks = [tasks]
    objects = [task if isinstance(task, PretextTask) else parse_task(task) for task in tasks]
    names = [task.name for task in objects]
    if not objects:
        raise UserError(f"no task is given; tasks are: {', '.join(sorted(TASKS))}")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"task {name!r} is given {names.count(name)} times; name each task once")
    return objects


def parse_task(text: str) -> PretextTask:
    """Parse one task from its text. Raise UserError where it is wrong."""
    name, settings = parse_call(text)
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name].from_text(settings)
