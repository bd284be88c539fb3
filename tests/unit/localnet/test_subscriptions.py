import pytest

from quantdesk_oracle.localnet.passage import Passage, Subscriber
from quantdesk_oracle.localnet.subscriptions import AccountParameters, SlotParameters, Subscriptions, Topic

ACCOUNT = AccountParameters("A", "base64", "confirmed", None)


@pytest.fixture
def subscriptions() -> Subscriptions:
    return Subscriptions(Passage())


def test_ids_start_at_0_and_are_the_nodes_own(subscriptions, new_recorder) -> None:
    assert subscriptions.subscribe(new_recorder(), ACCOUNT) == 0
    assert subscriptions.subscribe(new_recorder(), SlotParameters()) == 1


def test_identical_parameters_share_an_id(subscriptions, new_recorder) -> None:
    assert subscriptions.subscribe(new_recorder(), ACCOUNT) == subscriptions.subscribe(
        new_recorder(), ACCOUNT
    )


def test_another_commitment_is_another_subscription(subscriptions, recorder) -> None:
    first = subscriptions.subscribe(recorder, ACCOUNT)
    assert subscriptions.subscribe(recorder, ACCOUNT._replace(commitment="processed")) != first


def test_an_id_is_not_used_again(subscriptions, recorder) -> None:
    subscriptions.unsubscribe(recorder, subscriptions.subscribe(recorder, ACCOUNT), AccountParameters)
    assert len(subscriptions) == 0
    assert subscriptions.subscribe(recorder, ACCOUNT) == 1


def test_a_shared_subscription_stays_until_the_last_one_leaves(subscriptions, new_recorder) -> None:
    first, second = new_recorder(), new_recorder()
    shared = subscriptions.subscribe(first, ACCOUNT)
    subscriptions.subscribe(second, ACCOUNT)
    assert subscriptions.unsubscribe(first, shared, AccountParameters)
    (subscription,) = subscriptions.of_account("A")
    subscriptions.notify(subscription, b"1")
    assert (first.messages, second.messages) == ([], [1])


def test_nobody_unsubscribes_what_is_anothers_or_of_another_kind(subscriptions, new_recorder) -> None:
    owner, other = new_recorder(), new_recorder()
    mine = subscriptions.subscribe(owner, ACCOUNT)
    assert not subscriptions.unsubscribe(other, mine, AccountParameters)
    assert not subscriptions.unsubscribe(owner, mine, SlotParameters)
    assert not subscriptions.unsubscribe(owner, 99, AccountParameters)


def test_a_dropped_subscriber_is_told_nothing_more(subscriptions, recorder) -> None:
    subscriptions.subscribe(recorder, ACCOUNT)
    subscriptions.subscribe(recorder, SlotParameters())
    subscriptions.drop(recorder)
    assert len(subscriptions) == 0
    assert list(subscriptions.of_account("A")) == list(subscriptions.of_slots()) == []


def test_subscribing_twice_is_told_once(subscriptions, recorder) -> None:
    subscriptions.subscribe(recorder, ACCOUNT)
    subscriptions.subscribe(recorder, ACCOUNT)
    (subscription,) = subscriptions.of_account("A")
    subscriptions.notify(subscription, b"1")
    assert recorder.messages == [1]


def test_every_notification_goes_by_the_passage(recorder) -> None:
    class Twice(Passage):
        def notify(self, subscriber: Subscriber, message: bytes, topic: Topic) -> None:
            super().notify(subscriber, message, topic)
            super().notify(subscriber, message, topic)

    subscriptions = Subscriptions(Twice())
    subscriptions.subscribe(recorder, ACCOUNT)
    (subscription,) = subscriptions.of_account("A")
    subscriptions.notify(subscription, b"1")
    assert recorder.messages == [1, 1]


def test_after_a_reset_nobody_is_told_and_ids_start_again(subscriptions, recorder) -> None:
    subscriptions.subscribe(recorder, ACCOUNT)
    subscriptions.subscribe(recorder, SlotParameters())
    subscriptions.reset()
    assert len(subscriptions) == 0
    assert list(subscriptions.of_account("A")) == []
    assert list(subscriptions.of_slots()) == []
    assert subscriptions.subscribe(recorder, SlotParameters()) == 0
