"""All TFDS builders of this package: importing this module registers them."""

from tfds_builders.aff_wild2 import aff_wild2_dataset_builder  # noqa: F401
from tfds_builders.affectnet import affectnet_dataset_builder  # noqa: F401
from tfds_builders.ck_plus import ck_plus_dataset_builder  # noqa: F401
from tfds_builders.fed_ro import fed_ro_dataset_builder  # noqa: F401
from tfds_builders.fer2013 import fer2013_dataset_builder  # noqa: F401
from tfds_builders.ferplus import ferplus_dataset_builder  # noqa: F401
from tfds_builders.jaffe import jaffe_dataset_builder  # noqa: F401
from tfds_builders.oulu_casia import oulu_casia_dataset_builder  # noqa: F401
from tfds_builders.raf_db import raf_db_dataset_builder  # noqa: F401
from tfds_builders.sfew import sfew_dataset_builder  # noqa: F401
