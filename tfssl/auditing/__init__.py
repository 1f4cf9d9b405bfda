"""Does a task leak its answer? Probes that look at puzzles alone, without a network that was trained on them.

`audit` makes puzzles of a sample of the data as pretraining does, and hands them to one module a kind of probe:

- `answers`: are the answers balanced?
- `repeats`: same seed, same puzzle; other epoch, other puzzle; graph equals eager.
- `pieces`: put right by its answer, the puzzle gives the source back; facing edges do not go on in each other.
- `nuisances`: what of a part should not tell its answer: colours, borders, noise, block phase, sharpness.
- `prediction`: does it tell? A linear model on each nuisance, on pictures as they are and on neutral ones.
- `aberration`: does a patch's colour fringe tell where in the picture it lay?
- `intervention`: for dense tasks, what is hidden is changed in the source: the puzzle must not change.
- `brightness`: parts are made paler: the answer of a head that standardises each part does not change.
- `two_views`: are both views alike, do colours alone find the partner, does the loss want embeddings to differ?
- `times`: clips are marked: does when a sound or a frame is tell the answer, and is the answer that of their order?
- `hidden_frames`: for dense tasks on clips, frames are changed in the source: one must be asked for and not shown.

`marked_clips` makes clips that are marked, and frozen ones, of one frame only, in place of neutral pictures.
"""
