import os
from pathlib import Path

from flask import Flask

from blog.models import Post, db, migrate


def create_app():
    app = Flask(__name__, instance_relative_config=True)
    Path(app.instance_path).mkdir(exist_ok=True)
    app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{app.instance_path}/blog.db"
    db.init_app(app)
    migrate.init_app(app, db)

    @app.get("/")
    def posts():
        return {"posts": [post.title for post in Post.query]}

    @app.get("/healthz")
    def healthz():
        return "ok"

    return app
