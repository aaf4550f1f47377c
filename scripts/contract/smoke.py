"""Uses a client that was generated from the description, as its first user would."""

import json
import os

from hookcast_client import AuthenticatedClient
from hookcast_client.api.accounts import register_account, show_account
from hookcast_client.api.events import list_events, show_event, trigger
from hookcast_client.api.operators import admin_backlog
from hookcast_client.api.subscriptions import fetch_events, list_subscriptions, show_subscription, subscribe
from hookcast_client.models import NewAccount, NewEvent, NewSubscription, Problem

TOKENS = json.loads(os.environ["CONTRACT_TOKENS"])


def client(token):
    return AuthenticatedClient(base_url=os.environ["HOOKCAST_URL"], token=token)


account = register_account.sync(client=client(TOKENS["registration"]), body=NewAccount(user_id="python"))
consumer = client(account.access_token)
assert show_account.sync(client=consumer).user_id == "python"
made = subscribe.sync(client=consumer, body=NewSubscription(event="python.*", url=None))
assert made.url is None and made.is_active, made
assert show_subscription.sync(made.id, client=consumer).id == made.id
assert [one.id for one in list_subscriptions.sync(client=consumer).data] == [made.id]

producer = client(TOKENS["trigger"])
events = [NewEvent(event="python.one", payload={"n": 1}), NewEvent(event="python.two", payload=[1, "é"], source_id="s")]
receipts = trigger.sync(client=producer, body=events)
assert [receipt.subscriptions for receipt in receipts] == [1, 1], receipts
assert show_event.sync(receipts[0].id, client=producer).deliveries[0].state == "waiting"
assert [event.id for event in list_events.sync(client=producer, source_id="s").data] == [receipts[1].id]
fetched = fetch_events.sync(made.id, client=consumer)
assert [event.event for event in fetched.data] == ["python.one", "python.two"], fetched
assert admin_backlog.sync(client=client(TOKENS["admin"])).waiting >= 2

refused = subscribe.sync(client=consumer, body=NewSubscription(event="a b", url=None))
assert isinstance(refused, Problem) and refused.status == 422 and refused.field == "event", refused
