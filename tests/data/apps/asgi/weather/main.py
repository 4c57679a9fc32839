from functools import lru_cache

from fastapi import FastAPI
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    station: str
    unit: str = "celsius"


@lru_cache
def settings():
    return Settings()


app = FastAPI()


@app.get("/")
async def now():
    return {"station": settings().station, "unit": settings().unit}


@app.get("/health")
async def health():
    return {"station": settings().station}
