import os

from celery import Celery

celery = Celery("mailer", broker=os.environ["CELERY_BROKER_URL"])
celery.conf.beat_schedule = {"digest": {"task": "mailer.tasks.digest", "schedule": 3600}}


@celery.task
def send(address):
    print(f"mail to {address}")


@celery.task
def digest():
    print("the mails of an hour")
