"""What Python programs use: trained models on new arrays, training on arrays, scikit-learn's estimators.

`synjax.load`, `synjax.fit`, `synjax.SynjaxTransformer` and `synjax.SynjaxClassifier` come from here.
"""
