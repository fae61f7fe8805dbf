"""Trains `predict_churn` on the tables that the staging models have built."""

import relsql
import relsql.dbt


def model(dbt, session):
    dbt.ref("shops"), dbt.ref("customers"), dbt.ref("orders")
    return relsql.dbt.train(
        dbt,
        session,
        relsql.Task.from_manifest("tasks/churn.yaml"),
        name="churn",
        primary_keys=["shops(shop_id)", "customers(customer_id)", "orders(order_id)"],
        time_columns=["orders(ordered_at)"],
        links=["customers(shop_id) -> shops", "orders(customer_id) -> customers"],
        options=relsql.TrainOptions(encoder_steps=2, fanout=4, channels=16, epochs=2, batch_size=64, threads=1),
    )
