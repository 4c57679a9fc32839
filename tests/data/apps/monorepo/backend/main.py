from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

app = FastAPI()


@app.get("/api/health")
async def health():
    return "ok"


app.mount("/", StaticFiles(directory=Path(__file__).parent / "public", html=True))
