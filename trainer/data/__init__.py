"""Datasets and the pipeline that feeds them to the replicas."""
