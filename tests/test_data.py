"""Readers, light and splits: what is read is what was written, and every way of being wrong says so."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from optics_sim.data.aligned import arcface_crop
from optics_sim.data.faces import FaceSet, data_root, load
from optics_sim.data.photographs import (
    LUMINANCE_WEIGHTS,
    area_matrix,
    encode_uint8,
    linear_to_srgb,
    resize_light,
    srgb_to_linear,
)
from optics_sim.data.splits import (
    attacker_and_victims,
    duplicate_groups,
    enrolled_and_outsiders,
    split_images,
    split_people,
    verification_pairs,
)
from optics_sim.data.synthetic import synthetic_people
from optics_sim.errors import PrivcamError

FLOAT32_EPS = float(np.finfo(np.float32).eps)


@pytest.fixture(scope="module")
def faces():
    return synthetic_people(4, 6, seed=3, size=48)


@pytest.fixture
def folder(tmp_path, faces):
    root = tmp_path / "people"
    for number, image in enumerate(faces.images):
        person = root / faces.people[faces.labels[number]]
        person.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(person / f"{number:03d}.png")
    return root


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def png(value=90, size=(40, 40)):
    stream = io.BytesIO()
    Image.fromarray(np.full(size, value, np.uint8)).save(stream, "png")
    return stream.getvalue()


# --- light ----------------------------------------------------------------------------------------
def test_srgb_at_the_standards_points():
    # IEC 61966-2-1: mid gray 0.5 -> 0.21404, ends fixed
    assert np.allclose(srgb_to_linear(np.array([0.0, 0.04045, 0.5, 1.0])), [0, 0.0031308, 0.214041, 1], atol=1e-6)


def test_every_code_survives_the_round_trip():
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(encode_uint8(srgb_to_linear(codes)), codes)
    assert np.allclose(srgb_to_linear(codes), srgb_to_linear(codes / 255), atol=4 * FLOAT32_EPS)


def test_linear_to_srgb_clips():
    assert np.allclose(linear_to_srgb(np.array([-1.0, 2.0])), [0, 1], atol=FLOAT32_EPS)


def test_integers_other_than_bytes_are_refused():
    with pytest.raises(PrivcamError, match="uint8 or float"):
        srgb_to_linear(np.arange(5))


@pytest.mark.parametrize("target", [1, 7, 63, 112, 150])
def test_area_average_keeps_the_mean_light(target):
    light = np.random.default_rng(0).random((2, 112, 112)).astype(np.float32)
    assert resize_light(light, (target, target)).mean() == pytest.approx(light.mean(), abs=1e-5)


def test_area_average_equals_block_mean():
    light = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    assert np.allclose(resize_light(light, (3, 4)), light.reshape(3, 2, 4, 2).mean(axis=(1, 3)), atol=4 * FLOAT32_EPS)


def test_light_is_averaged_not_codes():
    board = np.indices((8, 8)).sum(0) % 2 * np.uint8(255)
    faces = FaceSet("board", board[None].astype(np.uint8), np.zeros(1, np.int64), ("one",), "synthetic")
    assert np.allclose(faces.gray((4, 4)), 0.5, atol=4 * FLOAT32_EPS)  # averaging codes first would give 0.214


def test_fit_rules():
    tall = np.zeros((8, 4), np.float32)
    tall[2:6] = 1
    assert np.allclose(resize_light(tall, (4, 4), "crop"), 1)
    padded = resize_light(tall, (8, 8), "pad")
    assert np.allclose(padded[:, 2:6], tall) and not padded[:, :2].any() and not padded[:, 6:].any()
    assert np.allclose(resize_light(tall, (4, 4), "stretch")[1:3], 1) and not resize_light(tall, (4, 4), "stretch")[0].any()


def test_window_outside_the_picture_is_black():
    assert np.allclose(area_matrix(2, 4, -1, 3).sum(axis=1), [0, 1, 1, 0])


def test_gray_is_the_luminance_of_rgb(faces):
    assert np.allclose(faces.rgb((20, 20)) @ LUMINANCE_WEIGHTS, faces.gray((20, 20)), atol=1e-6)
    assert faces.gray((20, 20)).dtype == np.float32 and faces.gray((20, 20)).max() <= 1 + 8 * FLOAT32_EPS


def test_resize_refuses_nothing():
    with pytest.raises(PrivcamError, match="at least one row"):
        resize_light(np.ones((4, 4)), (0, 4))


# --- reading --------------------------------------------------------------------------------------
def test_folder_round_trip(folder, faces):
    (folder / "synthetic_000" / ".hidden.png").write_bytes(b"no picture")
    (folder / "synthetic_000" / "notes.txt").write_text("no picture either")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "thumb.png").write_bytes(b"nor this")
    read = load(folder)
    assert np.array_equal(read.images, faces.images) and np.array_equal(read.labels, faces.labels)
    assert read.people == faces.people and read.kind == "real" and read.skipped == ()


@pytest.mark.parametrize("wrapper", ["", "people/"])
def test_zip_round_trip(tmp_path, folder, faces, wrapper):
    files = {f"{wrapper}{p.relative_to(folder).as_posix()}": p.read_bytes() for p in folder.rglob("*.png")}
    path = zipped(tmp_path / "people.zip", {**files, "__MACOSX/x/._a.png": b"junk"})
    read = load(path)
    assert np.array_equal(read.images, faces.images) and read.people == faces.people


def test_npz_round_trip_and_folder_that_holds_it(tmp_path, faces):
    home = tmp_path / "packed"
    home.mkdir()
    np.savez(home / "a.npz", images=faces.images, labels=faces.labels * 3)
    read = load(home)
    assert np.array_equal(read.images, faces.images) and np.array_equal(read.labels, faces.labels)
    assert read.people[1] == "person_003"
    np.savez(home / "a.npz", images=faces.images, labels=faces.labels, people=np.array(faces.people))
    assert load(home / "a.npz").people == faces.people


def test_names_are_looked_for_below_the_data_root(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PRIVCAM_DATA", str(folder.parent))
    assert data_root() == folder.parent and len(load("people").people) == 4
    monkeypatch.setenv("PRIVCAM_DATA", str(tmp_path / "nowhere"))
    assert data_root() is None
    with pytest.raises(PrivcamError, match="no such data"):
        load("people")


def test_exif_orientation_is_applied(folder):
    picture = np.zeros((48, 48, 3), np.uint8)
    picture[:24] = 255  # bright above, stored on its side
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to view
    Image.fromarray(np.rot90(picture).copy()).save(folder / "synthetic_000" / "000.png", exif=exif)
    assert np.array_equal(load(folder).images[0], picture)


def test_mixed_sizes_become_one_working_square(folder):
    Image.fromarray(np.full((300, 200, 3), 128, np.uint8)).save(folder / "synthetic_000" / "000.png")
    read = load(folder)
    assert read.images.shape == (24, 112, 112, 3) and (read.images[0] == 128).all()


def test_large_pictures_are_made_smaller(tmp_path):
    for person in "ab":
        (tmp_path / "big" / person).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((700, 600), 77 + number, np.uint8)).save(tmp_path / "big" / person / f"{number}.pgm")
    assert load(tmp_path / "big").images.shape == (6, 112, 112)


def test_sixteen_bit_and_palette_pictures(tmp_path):
    for person in "ab":
        (tmp_path / "deep" / person).mkdir(parents=True)
        Image.fromarray(np.full((20, 20), 65535, np.uint16)).save(tmp_path / "deep" / person / "0.png")
        Image.fromarray(np.full((20, 20, 3), 255, np.uint8)).quantize(4).save(tmp_path / "deep" / person / "1.png")
        Image.fromarray(np.full((20, 20, 4), 255, np.uint8)).save(tmp_path / "deep" / person / "2.png")
    assert (load(tmp_path / "deep").images == 255).all()


# --- what can be wrong ----------------------------------------------------------------------------
def test_unreadable_picture_is_named_or_skipped(folder):
    (folder / "synthetic_001" / "006.png").write_bytes(b"not a picture")
    with pytest.raises(PrivcamError, match=r"synthetic_001/006\.png cannot be read") as caught:
        load(folder)
    assert "strict=False" in caught.value.todo
    lenient = load(folder, strict=False)
    assert lenient.skipped == ("synthetic_001/006.png",) and lenient.counts[1] == 5


def test_truncated_picture_is_unreadable(folder):
    file = folder / "synthetic_001" / "006.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(PrivcamError, match=r"006\.png cannot be read"):
        load(folder)


def test_empty_picture_and_dangling_link(folder):
    (folder / "synthetic_001" / "006.png").write_bytes(b"")
    (folder / "synthetic_001" / "zzz.png").symlink_to(folder / "gone.png")
    assert load(folder, strict=False).skipped == ("synthetic_001/006.png", "synthetic_001/zzz.png")


def test_floating_point_picture_is_refused(folder):
    Image.fromarray(np.ones((48, 48), np.float32)).save(folder / "synthetic_001" / "006.tif")
    with pytest.raises(PrivcamError, match="no stated white"):
        load(folder)


def test_empty_folder(tmp_path):
    with pytest.raises(PrivcamError, match="holds no pictures"):
        load(tmp_path)


def test_no_people_folders(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(PrivcamError, match="no folder per person"):
        load(tmp_path)


def test_too_few_pictures_names_the_person(folder):
    for name in ("006", "007", "008", "009"):
        (folder / "synthetic_001" / f"{name}.png").unlink()
    with pytest.raises(PrivcamError, match=r"too few pictures.*synthetic_001 \(2\)"):
        load(folder)
    left = load(folder, drop_small=True)
    assert "synthetic_001" not in left.people and "synthetic_001" in left.note and len(left.people) == 3


def test_fewer_than_two_people(tmp_path):
    (tmp_path / "only" / "a").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "only" / "a" / f"{number}.png").write_bytes(png(number))
    with pytest.raises(PrivcamError, match="fewer than 2 people"):
        load(tmp_path / "only")


@pytest.mark.parametrize("name", ["../out/a.png", "/etc/a.png", "C:/a/b.png", "a\\..\\b.png"])
def test_zip_with_path_tricks(tmp_path, name):
    with pytest.raises(PrivcamError, match="leaves the archive"):
        load(zipped(tmp_path / "x.zip", {"p/a.png": png(), name: png()}))


def test_encrypted_zip(tmp_path):
    path = zipped(tmp_path / "x.zip", {"p/a.png": png()})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the encryption flag of the central directory
    path.write_bytes(bytes(data))
    with pytest.raises(PrivcamError, match="encrypted"):
        load(path)


def test_huge_zip_entry(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("p/a.png", bytes(65 * 2**20))
    with pytest.raises(PrivcamError, match="above 64 MiB"):
        load(path)


def test_damaged_zip_entry_is_named(tmp_path):
    path = zipped(tmp_path / "x.zip", {f"{p}/{n}.png": png(n) for p in "ab" for n in range(3)})
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(PrivcamError, match=r"a/0\.png cannot be read"):
        load(path)


def test_neither_zip_nor_npz(tmp_path):
    for name in ("a.zip", "a.txt"):
        (tmp_path / name).write_bytes(b"hello")
        with pytest.raises(PrivcamError, match="neither a folder of people nor a zip"):
            load(tmp_path / name)


def test_npz_with_wrong_keys_shapes_or_pickles(tmp_path):
    path = tmp_path / "a.npz"
    images, labels = np.zeros((6, 4, 4), np.uint8), np.repeat([0, 1], 3)
    np.savez(path, pictures=images, labels=labels)
    with pytest.raises(PrivcamError, match="lacks the array images"):
        load(path)
    for bad in ({"images": images.astype(float), "labels": labels}, {"images": images, "labels": labels[:5]},
                {"images": images, "labels": labels.astype(float)}, {"images": images[0], "labels": labels}):
        np.savez(path, **bad)
        with pytest.raises(PrivcamError, match="do not fit"):
            load(path)
    np.savez(path, images=np.array([None, {}], dtype=object), labels=labels)
    with pytest.raises(PrivcamError, match="plain arrays"):
        load(path)
    path.write_bytes(b"hello")
    with pytest.raises(PrivcamError, match="plain arrays"):
        load(path)
    np.savez(path, images=images, labels=labels, people=np.array(["one"]))
    with pytest.raises(PrivcamError, match="do not index"):
        load(path)


# --- labels.csv -----------------------------------------------------------------------------------
def test_attributes_by_person_and_by_file(folder, faces):
    (folder / "labels.csv").write_text("person,glasses,age\nsynthetic_000,1,old\nsynthetic_002,0,young\n")
    read = load(folder)
    assert np.array_equal(read.attributes["glasses"], np.repeat([1, -1, 0, -1], 6))
    assert read.categories["age"] == ("old", "young") and read.attributes["age"].dtype == np.int64
    rows = ("file,smile", "synthetic_000/000.png,10", "synthetic_000/001.png,9", "synthetic_000/002.png,")
    (folder / "labels.csv").write_text("\n".join(rows))
    read = load(folder)
    assert read.categories["smile"] == ("9", "10") and list(read.attributes["smile"][:4]) == [1, 0, -1, -1]
    part = read.select_people([1, 0])
    assert list(part.attributes["smile"][part.labels == 1][:3]) == [1, 0, -1]


@pytest.mark.parametrize(("text", "match"), [
    ("file,a\nsynthetic_000/999.png,1\n", "line 2 lists a file that is not there"),
    ("person,a\nnobody,1\n", "lists a person that is not there"),
    ("person,a\nsynthetic_000,1\nsynthetic_000,0\n", "line 3 lists a person twice"),
    ("name,a\nsynthetic_000,1\n", "does not start with a column"),
    ("person\nsynthetic_000\n", "does not start with a column"),
    ("", "does not start with a column"),
    ("person,a,b\nsynthetic_000,1\n", "another number of columns"),
    ("person,a\nsynthetic_000,1,2\n", "another number of columns|does not start"),
])
def test_labels_that_do_not_fit(folder, text, match):
    (folder / "labels.csv").write_text(text)
    with pytest.raises(PrivcamError, match=match):
        load(folder)


def test_labels_not_categorical_or_not_text(folder, faces):
    names = [f"{faces.people[label]}/{number:03d}.png" for number, label in enumerate(faces.labels)]
    from optics_sim.data import labels

    rows = "".join(f"{name}{copy},{number}.{copy}\n" for number, name in enumerate(names) for copy in range(2))
    with pytest.raises(PrivcamError, match="not categorical"):
        labels.read_labels("file,a\n" + rows, [f"{n}{c}" for n in names for c in range(2)], [""] * 48)
    (folder / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PrivcamError, match="not UTF-8"):
        load(folder)


def test_labels_of_a_skipped_picture_are_no_error(folder):
    (folder / "synthetic_000" / "000.png").write_bytes(b"")
    (folder / "labels.csv").write_text("file,a\nsynthetic_000/000.png,1\nsynthetic_000/001.png,0\n")
    assert load(folder, strict=False).attributes["a"][0] == 0


# --- face sets ------------------------------------------------------------------------------------
def test_select_and_largest(faces):
    uneven = faces.select_images(np.flatnonzero(~np.isin(np.arange(24), [0, 1, 12])))
    assert list(uneven.counts) == [4, 6, 5, 6]
    top = uneven.largest(3)
    assert top.people == tuple(faces.people[i] for i in (1, 3, 2)) and list(top.counts) == [6, 6, 5]
    person = faces.select_people([2])
    assert np.array_equal(person.images, faces.images[12:18]) and set(person.labels) == {0}


def test_face_set_guards(faces):
    with pytest.raises(PrivcamError, match="8-bit"):
        FaceSet("x", np.zeros((2, 4, 4)), np.zeros(2, np.int64), ("a",), "real")
    for labels in (np.array([0, 1]), np.array([-1, 0]), np.zeros(3, np.int64)):
        with pytest.raises(PrivcamError, match="one label per picture"):
            FaceSet("x", np.zeros((2, 4, 4), np.uint8), labels, ("a",), "real")
    for choice in ([4], [0, 0], [-1]):
        with pytest.raises(PrivcamError, match="not a choice of people"):
            faces.select_people(choice)
    for k in (0, 5):
        with pytest.raises(PrivcamError, match="largest people"):
            faces.largest(k)


# --- splits ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(5))
def test_split_is_a_stratified_partition(seed):
    labels = np.repeat(np.arange(7), [3, 4, 5, 10, 20, 33, 100])
    split = split_images(labels, rng=np.random.default_rng(seed))
    everything = np.concatenate([split.train, split.validation, split.test])
    assert np.array_equal(np.sort(everything), np.arange(len(labels)))
    for part, fraction in ((split.train, 0.7), (split.validation, 0.1), (split.test, 0.2)):
        counts = np.bincount(labels[part], minlength=7)
        assert counts.min() >= 1
        assert np.all(abs(counts[3:] - fraction * np.bincount(labels)[3:]) <= 1)  # rounding to whole pictures


def test_split_depends_on_the_generator_alone():
    labels = np.repeat(np.arange(4), 10)
    one, two, three = (split_images(labels, rng=np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one.test, two.test) and not np.array_equal(one.test, three.test)


@pytest.mark.parametrize("seed", range(10))
def test_copies_of_a_picture_stay_together(faces, seed):
    order = np.r_[np.arange(24), 0, 0, 7, 13]  # copies, one of them under another person
    labels = np.r_[faces.labels, 0, 0, 1, 3]
    images = faces.images[order]
    split = split_images(labels, (0.5, 0.25, 0.25), rng=np.random.default_rng(seed), images=images)
    bytes_of = [{images[i].tobytes() for i in part} for part in (split.train, split.validation, split.test)]
    assert not bytes_of[0] & bytes_of[1] and not bytes_of[0] & bytes_of[2] and not bytes_of[1] & bytes_of[2]
    assert sum(map(len, (split.train, split.validation, split.test))) == len(labels)
    assert all(set(labels[part]) == {0, 1, 2, 3} for part in (split.train, split.validation, split.test))


def test_duplicate_groups_name_the_first():
    images = np.array([[1], [2], [1], [3], [2]], np.uint8)
    assert list(duplicate_groups(images)) == [0, 1, 0, 3, 1]


def test_split_guards(faces):
    for fractions in ((0.5, 0.1, 0.1), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)):
        with pytest.raises(PrivcamError, match="fractions"):
            split_images(faces.labels, fractions, rng=np.random.default_rng(0))
    with pytest.raises(PrivcamError, match="person 1 has too few"):
        split_images(np.array([0, 0, 0, 1, 1]), rng=np.random.default_rng(0))
    same = np.zeros((4, 2, 2), np.uint8)
    with pytest.raises(PrivcamError, match="too few different"):
        split_images(np.zeros(4, np.int64), rng=np.random.default_rng(0), images=same)
    assert len(split_images(np.array([0, 0, 1, 1]), (0.5, 0, 0.5), rng=np.random.default_rng(0)).validation) == 0


def test_split_people():
    some, others = split_people(10, 0.3, np.random.default_rng(0))
    assert len(some) == 3 and np.array_equal(np.sort(np.r_[some, others]), np.arange(10))
    assert [len(part) for part in split_people(2, 0.01, np.random.default_rng(0))] == [1, 1]
    for n, fraction in ((1, 0.5), (5, 0.0), (5, 1.0)):
        with pytest.raises(PrivcamError, match="cannot split"):
            split_people(n, fraction, np.random.default_rng(0))


@pytest.mark.parametrize("n_pairs", [10, 400, 855])
def test_verification_pairs_are_balanced_and_different(n_pairs):
    labels = np.repeat(np.arange(6), [4, 4, 5, 10, 3, 30])
    i, j, same = verification_pairs(labels, n_pairs, np.random.default_rng(0))
    assert np.array_equal(labels[i] == labels[j], same) and same.sum() == n_pairs // 2
    assert len({frozenset(pair) for pair in zip(i, j, strict=True)}) == n_pairs and (i != j).all()


def test_verification_pairs_are_spread_over_people():
    labels = np.repeat(np.arange(5), [10, 10, 10, 10, 200])
    i, _, same = verification_pairs(labels, 200, np.random.default_rng(0))
    assert np.array_equal(np.bincount(labels[i[same]]), [20] * 5)


def test_verification_pairs_that_are_not_there():
    for labels, n in (([0, 0, 1], 4), ([0, 1, 2, 3], 4), ([0] * 9, 4), ([0, 0, 1], 1)):
        with pytest.raises(PrivcamError, match="not enough different pairs"):
            verification_pairs(np.array(labels), n, np.random.default_rng(0))


def test_populations_never_share_people(faces):
    enrolled, outsiders = enrolled_and_outsiders(faces, 1)
    assert enrolled.people == faces.people[:1] and outsiders.people == faces.people[1:]
    chosen, _ = enrolled_and_outsiders(faces, 2, np.random.default_rng(1))
    assert len(chosen.people) == 2
    attacker, victims = attacker_and_victims(outsiders, 0.4, np.random.default_rng(0))
    assert set(attacker.people) | set(victims.people) == set(outsiders.people)
    assert not set(attacker.people) & set(victims.people)
    pictures = [{image.tobytes() for image in part.images} for part in (enrolled, attacker, victims)]
    assert not pictures[0] & pictures[1] and not pictures[1] & pictures[2] and not pictures[0] & pictures[2]
    for enrolled_count in (0, 4):
        with pytest.raises(PrivcamError, match="keep outsiders"):
            enrolled_and_outsiders(faces, enrolled_count)


# --- input of public face networks ----------------------------------------------------------------
def test_arcface_crop_values():
    codes = np.random.default_rng(0).integers(0, 256, (2, 112, 112), dtype=np.uint8)
    crop = arcface_crop(srgb_to_linear(codes))
    wanted = (codes[:, None, :, 8:104].astype(np.float32) - 127.5) / 128
    assert crop.shape == (2, 3, 112, 96) and crop.dtype == np.float32
    assert np.abs(crop - wanted).max() < 1e-4  # a hundredth of a code
    assert arcface_crop(np.full((1, 63, 63, 3), 2.0)).max() == pytest.approx(127.5 / 128)


@pytest.mark.parametrize("bad", [np.ones((63, 63)), np.ones((2, 63, 63, 4)), np.full((1, 63, 63), np.nan)])
def test_arcface_crop_guards(bad):
    with pytest.raises(PrivcamError, match="not scenes"):
        arcface_crop(bad)


# --- the real sets --------------------------------------------------------------------------------
@pytest.mark.data
@pytest.mark.parametrize(("name", "images", "people", "shape"), [
    ("faces_orl", 400, 40, (112, 92)), ("faces_yaleb", 2414, 38, (96, 84)), ("faces_lfw", 3023, 62, (112, 112, 3)),
])
def test_real_sets(real_data, name, images, people, shape):
    read = load(real_data / name)
    assert len(read) == images and len(read.people) == people and read.images.shape[1:] == shape
    scenes = read.select_images(np.arange(50)).gray((63, 63))
    assert scenes.shape == (50, 63, 63) and 0.02 < scenes.mean() < 0.6 and scenes.max() <= 1 + 8 * FLOAT32_EPS
    split_images(read.labels, rng=np.random.default_rng(0), images=read.images)
