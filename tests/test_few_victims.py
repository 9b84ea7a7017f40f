"""Verification of very few people still has an interval, and a row with it can be read back."""

from __future__ import annotations

import numpy as np
import pytest

from optics_sim.attacks.verification import verify
from optics_sim.report.resampling import Sample, sample


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 0, 1], [0, 0, 1, 1, 2, 3]])
def test_every_replicate_of_few_people_is_a_number_that_survives_the_file(labels) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(len(labels), len(labels)))
    result = verify(scores + scores.T, np.array(labels), rng, 20)
    assert np.isfinite(result.auc_replicates).all() and np.isfinite(result.rank1_replicates).all()
    kept = sample("code/auc", result.auc, result.auc_replicates)
    assert Sample.model_validate_json(kept.model_dump_json()) == kept


def test_many_people_are_drawn_as_ever() -> None:
    """Drawing again happens only where it must: with ten people the first draws stand."""
    labels = np.repeat(np.arange(10), 3)
    first = np.random.default_rng(5).multinomial(10, np.full(10, 0.1), size=200)
    found = verify(np.eye(30), labels, np.random.default_rng(5), 20)
    hits = np.zeros(30)  # of equal scores the first picture is taken, which is person 0's
    hits[:3] = 1
    expected = [np.average(hits, weights=w[labels] + 1e-12) for w in first]
    assert found.rank1_replicates == pytest.approx(expected)
