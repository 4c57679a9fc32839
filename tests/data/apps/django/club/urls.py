from django.http import HttpResponse
from django.urls import path

from django.contrib.auth.models import User


def members(request):
    return HttpResponse(f"{User.objects.count()} members")


urlpatterns = [path("", members)]
