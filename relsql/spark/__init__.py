"""Models on Spark, and on engines that speak its protocol: the plan of rows in Spark's SQL, the scorer on executors."""
