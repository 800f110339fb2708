"""More cases of the machine's own processes on a real engine, with --every-case: they differ least from those there."""

from __future__ import annotations

import pytest
from test_cancel import (  # noqa: F401 - collected here as well
    test_a_cancelled_rollback_leaves_everything_as_it_was_and_the_next_one_just_works,
    test_a_migration_or_a_slow_start_is_really_interrupted,
    test_what_is_past_its_verdict_is_finished_whatever_comes,
)
from test_docker import (  # noqa: F401 - for each test
    images,
    other,
    scene,
    target,
)
from test_ten_releases import (  # noqa: F401 - the same cases, collected here for Docker
    test_a_crash_at_start_is_given_up_and_says_why,
    test_a_health_path_that_answers_500_is_given_up_and_says_why,
    test_a_long_request_that_is_in_flight_during_the_switch_is_answered,
    test_failed_releases_never_evict_what_can_be_rolled_back_to,
)
from test_two_at_once import (  # noqa: F401 - the same cases, collected here for Docker
    test_a_lock_by_hand_keeps_everybody_out_until_it_is_taken_away,
    test_of_two_releases_one_wins_and_the_other_is_told_who_holds_it,
)

pytestmark = pytest.mark.every_case
