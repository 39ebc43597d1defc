"""Our sampler passes the conformance tests that Optuna ships for samplers."""

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from study.search.sampling.tpe import JointTPE


class TestJointTPE(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        # Optuna's relative tests expect that no proposal is left to independent draws.
        return lambda: JointTPE(None, seed=0, startup_trials=0, random_share=0.0)
