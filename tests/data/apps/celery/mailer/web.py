from flask import Flask

from mailer.tasks import send

app = Flask(__name__)


@app.get("/")
def index():
    return "mailer"


@app.post("/send/<address>")
def queue_mail(address):
    send.delay(address)
    return "queued", 202
