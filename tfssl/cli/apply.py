"""Commands: what a run can name, paint and find."""

from typing import Any

import tfssl
from tfssl.cli.options import command


@command("tfssl.apply.config:PredictSettings")
def predict(**arguments: Any) -> Any:
    """Say what every picture of a collection shows. Killed and started again, it resumes.

    Of a network for key points, segmentation or normals, write what it finds into a folder, and draw it; killed, begin
    anew.

    DIR_OR_EXPORT is a folder that finetune wrote, or its export; with --server, a server computes that serves it.
    """
    return tfssl.predict(**arguments)


@command("tfssl.apply.config:InpaintSettings")
def inpaint(**arguments: Any) -> Any:
    """Paint holes of pictures by a run's inpainting; the rest of each comes back as it was.

    PICTURES are files and folders, of any size.
    """
    return tfssl.inpaint(**arguments)


@command("tfssl.apply.config:ColorizeSettings")
def colorize(**arguments: Any) -> Any:
    """Colour grey pictures and films at their own size by a run's colorization; their lightness stays.

    PICTURES are files and folders, of any size; films need the extra 'video'.
    """
    return tfssl.colorize(**arguments)


@command("tfssl.apply.config:LocaliseSettings")
def localise(**arguments: Any) -> Any:
    """Draw where in the picture the sound comes from.

    `evaluate-localisation` measures how often that is right. RUN was trained on 'audio_visual(fusion="localise")'.
    Needs the extra 'video'.
    """
    return tfssl.localise(**arguments)


@command("tfssl.apply.config:TrackSettings")
def track(**arguments: Any) -> Any:
    """Follow what a mask shows through a film, and draw it over the frames.

    `evaluate-tracking` measures how well. RUN was trained on 'tracking'. Needs the extra 'video'.
    """
    return tfssl.track(**arguments)
