"""Labels in a folder: YOLO's text and Pascal VOC's XML give the same as the COCO file of the same objects."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.unit.experiments import changed, checked, write, wrong
from trt_matrix.core.boxes.average_precision import LabelsError
from trt_matrix.inputs.label_folders import VOC_CLASSES, Classes, read_folder

WIDTH, HEIGHT = 20, 10

VOC = """<?xml version="1.0" encoding="{encoding}"?>
<annotation><filename>0.png</filename>
<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>"""


def voc(
    objects: str = "", width: int = WIDTH, height: int = HEIGHT, encoding: str = "utf-8"
) -> str:
    return VOC.format(objects=objects, width=width, height=height, encoding=encoding)


def voc_object(name: str, box: tuple[float, ...], difficult: int = 0) -> str:
    sides = "".join(
        f"<{side}>{value}</{side}>"
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        f"<bndbox>{sides}</bndbox></object>"
    )


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name)
    (tmp_path / "labels").mkdir()
    return [tmp_path / "a.png", tmp_path / "b.jpg"]


def labelled(images: list[Path], files: Mapping[str, str], **classes: Any) -> dict[str, Any]:
    folder = images[0].parent / "labels"
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    found: dict[str, Any] = json.loads(read_folder(folder, images, Classes(**classes)).coco)
    return found


def boxes(coco: Mapping[str, Any]) -> list[tuple[int, int, list[float]]]:
    return [
        (annotation["image_id"], annotation["category_id"], annotation["bbox"])
        for annotation in coco["annotations"]
    ]


def test_shares_become_pixels_of_each_image(images: list[Path]) -> None:
    coco = labelled(images, {"a.txt": "2 0.5 0.5 0.25 0.4\n\n0 0.25 0.5 0.5 1.0\n"}, number=5)
    assert boxes(coco) == [(1, 2, [7.5, 3.0, 5.0, 4.0]), (1, 0, [0.0, 0.0, 10.0, 10.0])]
    assert [image["file_name"] for image in coco["images"]] == ["a.png", "b.jpg"]
    assert [category["id"] for category in coco["categories"]] == list(range(5))


def test_an_image_on_its_side_is_read_upright(images: list[Path]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(images[1], exif=exif)
    coco = labelled(images, {"b.txt": "0 0.5 0.5 1 1"})
    assert boxes(coco) == [(2, 0, [0.0, 0.0, float(HEIGHT), float(WIDTH)])]


def test_a_line_that_is_there_twice_counts_once(images: list[Path]) -> None:
    assert len(boxes(labelled(images, {"a.txt": "0 .5 .5 .1 .1\n0 0.5 0.50 .1 .1\n"}))) == 1


def test_pixels_of_voc_are_counted_from_1_and_the_last_belongs_to_the_box(
    images: list[Path],
) -> None:
    """Object 1 to WIDTH, 1 to HEIGHT covers the image; a single pixel has an area of one."""
    objects = voc_object("dog", (1, 1, WIDTH, HEIGHT)) + voc_object("cat", (5, 5, 5, 5), 1)
    coco = labelled(images, {"a.xml": voc(objects), "b.xml": voc()}, number=2, names=("cat", "dog"))
    assert boxes(coco) == [(1, 1, [0, 0, WIDTH, HEIGHT]), (1, 0, [4, 4, 1, 1])]
    assert [annotation["iscrowd"] for annotation in coco["annotations"]] == [0, 1], (
        "difficult: not counted"
    )


def test_vocs_own_twenty_classes_need_no_names(images: list[Path]) -> None:
    files = {"a.xml": voc(voc_object("person", (1, 1, 2, 2))), "b.xml": voc()}
    coco = labelled(images, files, number=20)
    assert boxes(coco)[0][1] == VOC_CLASSES.index("person") == 14
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)


def test_names_that_the_network_does_not_know_are_further_categories(images: list[Path]) -> None:
    objects = voc_object("dog", (1, 1, 2, 2)) + voc_object("cow", (1, 1, 2, 2))
    coco = labelled(images, {"a.xml": voc(objects), "b.xml": voc()}, number=1, names=("dog",))
    assert [box[1] for box in boxes(coco)] == [0, 1]
    assert len(coco["categories"]) == 2


def test_category_ids_that_were_for_a_coco_file_shift_no_name(images: list[Path]) -> None:
    """The evaluation takes class k for the category `category_ids[k]`: a dog is to be the network's dog."""
    objects = "".join(voc_object(name, (1, 1, 2, 2)) for name in ("cat", "dog", "cow"))
    files = {"a.xml": voc(objects), "b.xml": voc()}
    coco = labelled(images, files, number=2, names=("cat", "dog"), category_ids=(1, 2))
    assert [box[1] for box in boxes(coco)] == [1, 2, 3]
    assert {1, 2, 3} <= {category["id"] for category in coco["categories"]}


def test_both_kinds_say_the_same_as_coco(tmp_path: Path) -> None:
    """Through `plan`: what is stored for AP is COCO, whatever it was read from."""
    matrix = write(tmp_path)
    coco = {
        "images": [{"id": n + 1, "file_name": f"{n}.png"} for n in range(2)],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [2, 1, 8, 5],
                "area": 40,
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": 0}, {"id": 1}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(coco))
    (tmp_path / "yolo").mkdir()
    (tmp_path / "yolo" / "0.txt").write_text("1 0.3 0.35 0.4 0.5\n")
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "0.xml").write_text(voc(voc_object("dog", (3, 2, 10, 6))))
    (tmp_path / "voc" / "1.xml").write_text(voc())
    (tmp_path / "none.py").write_text("def boxes(outputs): return []\n")
    decode = {"entry_point": "none:boxes", "class_names": ["cat", "dog"]}
    for labels in ("labels.json", "yolo", "voc"):
        assert wrong(matrix, changed(data__evaluation__labels=labels, decode=decode)) == []
        content = checked(matrix).labels
        assert content is not None
        found = json.loads(content)
        for annotation in found["annotations"]:
            annotation["bbox"], annotation["area"] = (
                [round(v, 6) for v in annotation["bbox"]],
                round(annotation["area"], 6),
            )
        assert found == coco


def test_more_classes_than_the_network_has_are_told(tmp_path: Path) -> None:
    matrix = write(tmp_path)
    (tmp_path / "yolo").mkdir()
    (tmp_path / "yolo" / "0.txt").write_text("3 0.5 0.5 0.4 0.5\n")
    heads = {"small": {"stride": 2, "anchors": [[3, 3]]}}
    places = changed(
        heads=heads, decode={"style": "yolov3", "classes": 1}, data__evaluation__labels="yolo"
    )
    (problem,) = wrong(matrix, places)
    assert "1 classes, but the labels have 4 categories" in problem
    places["decode"]["category_ids"] = [0]
    assert wrong(matrix, places) == [], "the object of class 3 is left out"


COCO_IDS = tuple(one for one in range(1, 91) if one not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))


@pytest.mark.parametrize("ids", [COCO_IDS, (1, 2), (1, 0), (2, 5, 7)])
def test_category_ids_of_a_coco_file_make_no_other_classes_of_yolos_numbers(
    images: list[Path], ids: tuple[int, ...]
) -> None:
    """Class 1 of the text would be counted as the network's class 0."""
    with pytest.raises(LabelsError, match="the network's own classes, and decode.category_ids"):
        labelled(images, {"a.txt": "1 .5 .5 .1 .1"}, number=len(ids), category_ids=ids)
    assert boxes(labelled(images, {"a.txt": "", "b.txt": ""}, category_ids=ids)) == []
    coco = labelled(images, {"a.txt": "1 .5 .5 .1 .1"}, category_ids=(0, 1))
    assert [box[1] for box in boxes(coco)] == [1]


def test_one_file_among_many_images_does_not_make_the_others_empty(tmp_path: Path) -> None:
    matrix = write(tmp_path)
    folder = tmp_path / "evaluation"
    for number in range(2, 5):
        (folder / f"{number}.png").write_bytes((folder / "0.png").read_bytes())
    (tmp_path / "yolo").mkdir()
    (tmp_path / "yolo" / "0.txt").write_text("0 0.5 0.5 0.4 0.5\n")
    decode = {"entry_point": "none:boxes"}
    (tmp_path / "none.py").write_text("def boxes(outputs): return []\n")
    places = changed(data__evaluation__labels="yolo", decode=decode)
    (problem,) = wrong(matrix, places)
    assert "only 1 of 5 images have a .txt, none for 1.png, 2.png, 3.png, 4.png" in problem
    for number in (1, 3):
        (tmp_path / "yolo" / f"{number}.TXT").write_text("")
    assert wrong(matrix, places) == []
    (doubt,) = checked(matrix).doubts
    assert doubt.startswith("data.evaluation.labels (line ")
    assert "2 of 5 images have no .txt and count as without objects: 2.png, 4.png" in doubt
    for number in (2, 4):
        (tmp_path / "yolo" / f"{number}.txt").write_text("")
    assert checked(matrix).doubts == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.TXT", "0 .5 .5 1 1"), ("a.Xml", voc(voc_object("dog", (1, 1, WIDTH, HEIGHT))))],
)
def test_a_suffix_is_read_whatever_its_case(images: list[Path], name: str, content: str) -> None:
    files = {name: content, f"b{name[1:]}": "" if "X" in name[3:] else voc()}
    coco = labelled(images, files, names=("dog",))
    assert boxes(coco) == [(1, 0, [0.0, 0.0, WIDTH, HEIGHT])]


def test_two_files_of_one_image_are_refused(images: list[Path]) -> None:
    with pytest.raises(LabelsError, match="a.TXT, a.txt are labels of one image"):
        labelled(images, {"a.TXT": "0 .5 .5 1 1", "a.txt": ""})


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "no labels of any of these images: a.txt (YOLO: class cx cy w h) or a.xml"),
        ({"other.txt": "0 .5 .5 .1 .1"}, "no labels of any of these images"),
        ({"a.txt": "", "b.xml": voc()}, "it holds .txt and .xml of these images: keep one kind"),
        ({"a.txt": "0 .5 .5 .1"}, "a.txt, line 1: 4 words; YOLO's `class cx cy w h` is expected"),
        ({"a.txt": "\n0 .1 .1 .2 .1 .3 .3"}, "a.txt, line 2: 7 words"),
        ({"a.txt": "0 100 50 20 10"}, "a.txt, line 1: 100 50 20 10 are no shares from 0 to 1"),
        ({"a.txt": "0 .5 .5 -.1 .1"}, "are no shares"),
        ({"a.txt": "0 nan .5 .1 .1"}, "'nan' is no number"),
        ({"a.txt": "1.5 .5 .5 .1 .1"}, "1.5 is no class index"),
        ({"a.txt": "-1 .5 .5 .1 .1"}, "-1 is no class index"),
        ({"a.txt": "person .5 .5 .1 .1"}, "'person' is no number"),
        ({"a.xml": voc()}, "no .xml for b.jpg; an image without objects needs one"),
        ({"a.xml": "<annotation>", "b.xml": voc()}, "a.xml: not XML"),
        ({"a.xml": "<kml/>", "b.xml": voc()}, "a.xml: not Pascal VOC: <annotation> is expected"),
        ({"a.xml": voc(width=99), "b.xml": voc()}, "a.xml: it is of an image of 99 × 10 pixels, that of this name has 20 × 10"),
        ({"a.xml": voc("<object><name>dog</name></object>"), "b.xml": voc()}, "a.xml, object 1, xmin: '' is no number"),
        ({"a.xml": voc("<object/>"), "b.xml": voc()}, "a.xml, object 1: it has no <name>"),
        ({"a.xml": voc(voc_object("dog", (5, 1, 3, 2))), "b.xml": voc()}, "xmax and ymax must not be less"),
        ({"a.xml": voc(voc_object("wolf", (1, 1, 3, 2))), "b.xml": voc()}, "the objects are wolf: give decode.class_names"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_file_and_line(
    images: list[Path], files: Mapping[str, str], told: str
) -> None:
    with pytest.raises(LabelsError) as caught:
        labelled(images, files)
    assert told in str(caught.value)


def test_entities_that_grow_are_refused(images: list[Path]) -> None:
    lol = (
        '<!DOCTYPE a [<!ENTITY l0 "lol">'
        + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
        + "]>"
    )
    bomb = voc(voc_object("&l8;", (1, 1, 2, 2))).replace("<annotation>", f"{lol}<annotation>")
    with pytest.raises(LabelsError, match="a document type is declared"):
        labelled(images, {"a.xml": bomb, "b.xml": voc()})
    (images[0].parent / "labels" / "a.xml").write_bytes(bomb.encode("utf-16"))
    with pytest.raises(LabelsError, match="no text in UTF-8"):
        labelled(images, {})


def test_two_images_of_one_stem_are_refused(images: list[Path]) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(images[0].with_suffix(".bmp"))
    images.append(images[0].with_suffix(".bmp"))
    with pytest.raises(LabelsError, match="would share one file"):
        labelled(images, {"a.txt": "0 .5 .5 .1 .1"})


def test_plan_tells_of_a_folder_without_labels(tmp_path: Path) -> None:
    matrix = write(tmp_path)
    (problem,) = wrong(matrix, changed(data__evaluation__labels="evaluation"))
    assert problem.startswith("data.evaluation.labels (line ")
    assert "no labels of any of these images: 0.txt" in problem
