"""Models on Spark, and on engines that speak its protocol: the plan of rows in Spark's SQL, the scorer on executors."""

from relsql.spark.models import SparkModel as SparkModel
from relsql.spark.models import register as register
from relsql.spark.models import score as score
