# Copyright (c) 2026 secops.defender contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants of an estate that are broken, each in another way."""

from __future__ import annotations

from mock_api import MockTenant, TenantConfig
from mock_api.broken import TEN, WAYS, broken, ten_broken


def test_an_estate_of_a_thousand_is_made_quickly() -> None:
    with MockTenant(TenantConfig(tenants=1000, alerts=20)) as tenant:
        assert [item["alerts"] for item in tenant.tenants] == [20] * 1000
        assert len({item["tenant_id"] for item in tenant.tenants} | {item["domain"] for item in tenant.tenants}) == 2000


def test_ten_of_them_are_broken_in_ten_ways() -> None:
    names = [str(number) for number in range(1000)]
    chosen = ten_broken(names)
    assert sorted(chosen.values()) == sorted(TEN)
    assert list(chosen) == [str(number) for number in range(50, 1000, 100)]
    assert len(ten_broken(names[:12])) == 10


def test_a_rule_concerns_its_tenant_alone() -> None:
    with MockTenant(TenantConfig(tenants=len(WAYS) + 1, alerts=1)) as tenant:
        well, *others = [item["tenant_id"] for item in tenant.tenants]
        tenant.set_faults(broken(dict(zip(others, WAYS))))
        rules = tenant.faults.rules
        assert [rule.match["tenant"] for rule in rules] == others
        assert well not in str(rules)
