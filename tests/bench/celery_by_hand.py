"""The Celery task that teams write around poplib: one account a task, a lock in Redis, one TLS context a process."""

from __future__ import annotations

import os
import poplib
import ssl

import redis
from celery import Celery

app = Celery("by_hand", broker=os.environ["BY_HAND_BROKER_URL"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, worker_redirect_stdouts=False)
state = redis.Redis.from_url(os.environ["BY_HAND_REDIS_URL"], decode_responses=True)
context = ssl.create_default_context(cafile=os.environ["BY_HAND_CA_FILE"])


@app.task(name="by_hand.poll")
def poll(account_id: str) -> None:
    """Poll one maildrop; here there is never anything new to take."""
    lock = f"lock:{account_id}"
    if not state.set(lock, "1", nx=True, ex=60):
        return
    try:
        account = {str(key): str(value) for key, value in state.hgetall(f"account:{account_id}").items()}
        session = poplib.POP3_SSL(account["host"], int(account["port"]), timeout=30, context=context)
        session.user(account["username"])
        session.pass_(account["password"])
        listed = [line.decode().split(" ", 1)[1] for line in session.uidl()[1]]
        seen = state.smembers(f"seen:{account_id}")
        if any(uidl not in seen for uidl in listed):
            state.sadd(f"seen:{account_id}", *listed)
        session.quit()
    finally:
        state.delete(lock)
