"""The count of descriptors."""

from __future__ import annotations

import resource

import pytest

from hubd.budget import Budget, raise_limit


@pytest.mark.parametrize("limit", [64, 1024, 4096, 65536, 1_048_576])
def test_d6_agents_keep_a_share(limit):
    budget = Budget(limit)
    assert 0 < budget.visitors_max < budget.stop <= limit * 9 // 10
    assert budget.resume < budget.stop
    if limit >= 4096:
        assert budget.stop - budget.visitors_max == 256
    assert str(limit) in budget.describe()
    assert budget.tight is (limit < 4096)


def test_d6_stop_and_resume():
    budget = Budget(1024)
    budget.visitors = budget.visitors_max
    assert not budget.agents_only
    budget.visitors += 1
    assert budget.agents_only and not budget.full
    budget.agents = budget.stop - budget.visitors
    assert budget.full and not budget.roomy
    budget.agents -= 1
    assert not budget.full and not budget.roomy
    budget.agents = 0
    budget.visitors = budget.resume
    assert budget.roomy


def test_the_soft_limit_is_raised(monkeypatch):
    given = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: given.append(limits))
    assert raise_limit() == 4096 and given == [(4096, 4096)]


def test_a_limit_that_cannot_be_raised(monkeypatch):
    def refuse(which, limits):
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_limit() == 1024


def test_no_limit_at_all(monkeypatch):
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda which: (unlimited, unlimited))
    assert raise_limit() == 1_048_576


def test_d6_as_many_visitors_as_somebody_says():
    budget = Budget(65536, 100)
    assert budget.visitors_max == 100 and not budget.tight
    budget.allow(60_000)
    assert budget.visitors_max < 60_000 and budget.tight
    budget.allow(0)
    assert budget.visitors_max > 50_000 and not budget.tight


def test_d6_descriptors_of_others_count():
    budget = Budget(1000)
    budget.looked(940)
    assert not budget.full
    budget.arrived = 10
    assert budget.full
    budget.looked(935)
    assert not budget.full and not budget.roomy
    budget.looked(930)
    assert budget.roomy
