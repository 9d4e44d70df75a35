"""Clouds with labels: coordinates are matched by name, not by place.

Tables (pandas, polars) are matched by their columns, xarray's arrays by dimensions and by the
labels of the coordinates' dimension. Clouds without labels are taken as they are.
"""

from typing import Any


def aligned(name: str, cloud: Any, like: Any, like_name: str = "X") -> Any:
    """Return `cloud` with its coordinates in the order of `like`.

    Raises
    ------
    ValueError
        Both have labels, and not the same ones.
    """
    if hasattr(cloud, "columns") and hasattr(like, "columns"):
        return _by_columns(name, cloud, like, like_name)
    if hasattr(cloud, "dims") and hasattr(like, "dims"):
        return _by_dims(name, cloud, like, like_name)
    return cloud


def _by_columns(name: str, cloud: Any, like: Any, like_name: str) -> Any:
    own, wanted = list(cloud.columns), list(like.columns)
    if own == wanted:
        return cloud
    _check_same(name, own, wanted, like_name)
    return cloud[wanted]


def _by_dims(name: str, cloud: Any, like: Any, like_name: str) -> Any:
    if cloud.ndim != 2 or like.ndim != 2:
        return cloud
    _, coordinate = like.dims
    if coordinate not in cloud.dims:
        raise ValueError(
            f"{name} has dimensions {cloud.dims} and {like_name} {like.dims}; expected "
            f"{coordinate!r}, the dimension of {like_name}'s coordinates, in both."
        )
    cloud = cloud.transpose(..., coordinate)
    if coordinate in cloud.coords and coordinate in like.coords:
        own, wanted = cloud[coordinate].values.tolist(), like[coordinate].values.tolist()
        if own != wanted:
            _check_same(name, own, wanted, like_name)
            return cloud.sel({coordinate: wanted})
    return cloud


def _check_same(name: str, own: list[Any], wanted: list[Any], like_name: str) -> None:
    if len(set(wanted)) != len(wanted) or sorted(map(str, own)) != sorted(map(str, wanted)):
        raise ValueError(
            f"{name} has coordinates {own} and {like_name} {wanted}; expected the same names, each "
            "once, in any order."
        )
