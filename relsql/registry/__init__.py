"""What the database stores about models: cards, versions, publications, row embeddings, score jobs."""
