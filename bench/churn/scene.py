"""The objects on which users and mishaps act."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bench.churn.pods import Pods
from bench.churn.wishes import Wish

from dask_operator.kubernetes.api import Api, path
from dask_operator.model import Pod
from dask_operator.resources import Resource

_T = TypeVar("_T")
Deed = Callable[[], Awaitable[None]]


@dataclass
class Scene:
    """The namespace and its declared state. `wishes`: by name. `tell` is called with each deed and its object."""

    api: Api
    namespace: str
    pods: Pods
    chance: random.Random
    tell: Callable[[str, str], None]
    wishes: dict[str, Wish] = field(default_factory=dict)

    def one(self, of: Sequence[_T]) -> _T | None:
        """Return a random element, or None if empty."""
        return self.chance.choice(of) if of else None

    def plain(self) -> list[Wish]:
        """Return the clusters that belong to no job."""
        return [wish for wish in self.wishes.values() if not wish.job]

    def there(self, component: str) -> list[Pod]:
        return [pod for pod in self.pods.now.values() if pod.component == component]

    async def patch(self, resource: Resource, name: str, body: dict[str, Any], subresource: str = "") -> None:
        await self.api.patch(resource, self.namespace, name, body, subresource)

    async def delete(self, resource: Resource, name: str) -> None:
        await self.api.request("DELETE", path(resource, self.namespace, name))

    async def get(self, resource: Resource, name: str) -> dict[str, Any]:
        return dict((await self.api.get(resource, self.namespace, name)).body)
