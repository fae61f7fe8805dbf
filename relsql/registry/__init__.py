"""What the database knows of models: cards, versions, publications, row embeddings."""
