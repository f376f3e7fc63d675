"""The image registry."""

from collections.abc import Callable

from local_cloud.emulator.patches.stock import Json, Response, ecr, replace, responses


def apply() -> None:
    """Apply the patches of this module."""
    _say_that_an_image_is_missing()


def _say_that_an_image_is_missing() -> None:
    """DescribeImages of a missing image is an error on AWS; without it `cdk deploy` takes every image as published."""

    def describe(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
        def describe_images(data: Json) -> Response:
            name = data.get("repositoryName", "")
            if name in ecr._repositories:
                for image in data.get("imageIds") or []:
                    if ecr._find_image(name, image) is None:
                        wanted = ", ".join(f"{key}:'{value}'" for key, value in sorted(image.items()))
                        message = (
                            f"The image with imageId {{{wanted}}} does not exist within the repository with name '{name}' "
                            f"in the registry with id '{responses.get_account_id()}'"
                        )
                        refused: Response = responses.error_response_json("ImageNotFoundException", message, 400)
                        return refused
            return stock(data)

        return describe_images

    replace(ecr, "_describe_images", "data", by=describe)
