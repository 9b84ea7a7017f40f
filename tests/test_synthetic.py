"""Synthetic people: reproducible, distinct, and not told apart by brightness or background."""

import numpy as np
import pytest

from optics_sim.data.splits import split_images
from optics_sim.data.synthetic import synthetic_people
from optics_sim.errors import PrivcamError

PEOPLE, PICTURES = 20, 20
CHANCE = 1 / PEOPLE


@pytest.fixture(scope="module")
def faces():
    return synthetic_people(PEOPLE, PICTURES, seed=0)


def nearest_neighbour_accuracy(features, labels):
    split = split_images(labels, (0.7, 0.0, 0.3), rng=np.random.default_rng(0))
    flat = features.reshape(len(labels), -1).astype(np.float64)
    train, test = flat[split.train], flat[split.test]
    distance = (train**2).sum(1)[None] - 2 * test @ train.T
    return (labels[split.train][distance.argmin(1)] == labels[split.test]).mean(), len(test)


def chance_limit(n):
    """Four standard deviations of a guesser over n test pictures."""
    return CHANCE + 4 * np.sqrt(CHANCE * (1 - CHANCE) / n)


def normalised(scenes):
    centred = scenes - scenes.mean(axis=(1, 2), keepdims=True)
    return centred / centred.std(axis=(1, 2), keepdims=True)


def test_shape_kind_and_balance(faces):
    assert faces.images.shape == (PEOPLE * PICTURES, 112, 112, 3) and faces.kind == "synthetic"
    assert set(faces.counts) == {PICTURES} and "no real people" in faces.note


def test_same_seed_same_bits_and_other_seed_other_people(faces):
    again = synthetic_people(2, PICTURES, seed=0)
    assert np.array_equal(again.images, faces.images[: 2 * PICTURES])  # also: independent of how many people
    assert not np.array_equal(synthetic_people(1, 1, seed=1).images[0], faces.images[0])


def test_pictures_do_not_depend_on_how_many_are_made(faces):
    few = synthetic_people(3, 2, seed=0)
    assert np.array_equal(few.images[4:6], faces.images[2 * PICTURES : 2 * PICTURES + 2])


def test_no_picture_is_made_twice(faces):
    assert len({image.tobytes() for image in faces.images}) == len(faces)


def test_brightness_tells_nothing(faces):
    accuracy, n = nearest_neighbour_accuracy(faces.gray((63, 63)).mean(axis=(1, 2)), faces.labels)
    assert accuracy < chance_limit(n)


def test_background_tells_nothing(faces):
    scenes = faces.gray((63, 63))
    corners = np.concatenate([scenes[:, :12, :12], scenes[:, :12, -12:]], axis=2)
    accuracy, n = nearest_neighbour_accuracy(corners, faces.labels)
    assert accuracy < chance_limit(n)


def test_pixels_tell_something_and_not_everything(faces):
    accuracy, n = nearest_neighbour_accuracy(faces.gray((63, 63)), faces.labels)
    assert chance_limit(n) < accuracy < 0.95


def test_people_differ_more_than_pictures_of_one(faces):
    face = normalised(faces.gray((63, 63))[:, 14:52, 16:48]).reshape(len(faces), -1)
    distance = ((face[:, None, ::7] - face[None, :, ::7]) ** 2).mean(axis=2)
    same = faces.labels[:, None] == faces.labels[None]
    within = distance[same & ~np.eye(len(faces), dtype=bool)].mean()
    assert distance[~same].mean() > 1.1 * within


def test_light_attribute_says_where_the_light_comes_from(faces):
    scenes = faces.gray((63, 63))[:, 20:45, 18:45]
    left = scenes[:, :, :13].mean(axis=(1, 2)) - scenes[:, :, 14:].mean(axis=(1, 2))
    from_left = faces.attributes["light_from_left"] == 1
    assert left[from_left].mean() > 0 > left[~from_left].mean()


def test_attributes_are_binary_and_vary(faces):
    for name, column in faces.attributes.items():
        assert set(column) == {0, 1}, name
        assert column.dtype == np.int64 and faces.categories[name] == ("0", "1")


@pytest.mark.parametrize("size", [64, 97])
def test_other_sizes(size):
    faces = synthetic_people(1, 1, seed=0, size=size)
    assert faces.images.shape == (1, size, size, 3) and 10 < faces.images.mean() < 245


@pytest.mark.parametrize("people, pictures, size", [(0, 1, 112), (1, 0, 112), (1, 1, 8)])
def test_refuses_nothing_to_draw(people, pictures, size):
    with pytest.raises(PrivcamError, match="cannot draw"):
        synthetic_people(people, pictures, 0, size)
