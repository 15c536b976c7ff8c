"""The images of matrix.yaml and their labels: found in their folders, and read."""

from collections.abc import Sequence
from pathlib import Path

from trt_matrix.config.data import Images
from trt_matrix.config.matrix import Config
from trt_matrix.config.problems import few
from trt_matrix.core.boxes.average_precision import LabelsError
from trt_matrix.inputs import samples
from trt_matrix.inputs.images import SUFFIXES, image_files
from trt_matrix.inputs.label_folders import Classes, read_folder
from trt_matrix.inputs.labels import ImageLabels, parse
from trt_matrix.planning.problems import Problems
from trt_matrix.store.untrusted import named_file

LIMIT_LABELS_BYTES = 1 << 30
"""COCO's own training labels have half of it."""


class ImageFolders:
    """Finds them; what does not fit is told to `problems`."""

    def __init__(self, config: Config, root: Path, problems: Problems) -> None:
        self.config = config
        self.root = root
        self._problems = problems

    def images(self, part: str, section: Images) -> tuple[Path, ...]:
        folder, where = self.root / section.folder, ("data", part, section.key)
        wanted = (samples.SUFFIXES, "array") if section.arrays else (SUFFIXES, "image")
        try:
            files, problems = image_files(folder, *wanted)
        except OSError as error:
            self._problems.add(where, f"{folder}: {error.strerror}")
            return ()
        for problem in problems:
            self._problems.add(where, problem)
        if not files and not problems:
            self._problems.add(where, f"{folder}: no {wanted[1]} in this folder")
        first = {None: slice(None), "odd": slice(0, None, 2), "even": slice(1, None, 2)}
        chosen = files[first[section.half]]
        if files and not chosen:
            self._problems.add(
                (*where[:2], "half"), f"{folder}: one {wanted[1]} alone cannot be halved"
            )
        return chosen[: section.limit]

    def labels(self, images: Sequence[Path]) -> tuple[bytes, ImageLabels] | None:
        """Returns the content of the labels of the evaluation images, and what it says."""
        return self._labels("evaluation", self.config.data.evaluation.labels, images)

    def sizes(self, images: Sequence[Path]) -> ImageLabels | None:
        """Returns the labels of the calibration images, of which only the sizes of objects are read."""
        labels = self._labels("calibration", self.config.data.calibration.labels, images)
        return labels[1] if labels else None

    def _labels(
        self, part: str, labels: Path | None, images: Sequence[Path]
    ) -> tuple[bytes, ImageLabels] | None:
        if labels is None:
            return None
        where, path = ("data", part, "labels"), self.root / labels
        classes = _classes(self.config)
        try:
            if path.is_dir():
                folder = read_folder(path, images, classes)
                content = folder.coco
                self._tell_unlabelled(where, folder.without, len(images))
            else:
                content = named_file(path, LIMIT_LABELS_BYTES)
            names = [path.name for path in images]
            return content, parse(content, names, classes.category_ids)
        except OSError as error:
            self._problems.add(where, f"{path}: {error.strerror}")
        except LabelsError as error:
            self._problems.add(where, f"{path}: {error}")
        return None

    def _tell_unlabelled(
        self, where: tuple[str | int, ...], without: Sequence[str], images: int
    ) -> None:
        if without:
            self._problems.doubt(
                where,
                f"{len(without)} of {images} images have no .txt and count as "
                f"without objects: {few(without)}; what is found in them counts as wrong",
            )


def _classes(config: Config) -> Classes:
    if config.decoding is None:
        return Classes()
    return Classes(
        number=config.decoding.settings().get("classes"),
        names=config.decoding.class_names,
        category_ids=config.decoding.category_ids,
    )
