"""Which folders go into the wheel, and where; all else stands in pyproject.toml."""

from setuptools import find_packages, setup

# Outside the checkout `demo` and `configs` are names of anybody's: they go into our packages.
FOLDERS = {
    "person_search.demo": "demo",
    "person_search.demo.door": "demo/door",
    "reid_heads.configs": "configs",
}

setup(
    packages=[*find_packages(include=["person_search*", "reid_heads*"]), *FOLDERS],
    package_dir=FOLDERS,
    package_data={
        "person_search": ["models/*"],
        "person_search.demo": ["assets/*"],
        "reid_heads.configs": ["**/*.yaml"],
    },
)
