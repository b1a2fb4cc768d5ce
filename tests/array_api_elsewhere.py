"""SciPy's and scikit-learn's functions on Tensors, run as a program of its own.

    SCIPY_ARRAY_API=1 python tests/array_api_elsewhere.py scipy | sklearn

SciPy reads that variable when it is imported, so a test cannot set it in its own process. What is
printed is JSON: for every call of the table what went wrong, or "". A call's values are compared
with those of NumPy's arrays; of the first table also the derivatives, with differences of these.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np

import tapegrad
from tapegrad import Tensor

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=12), RANDOM.normal(size=12)
P, Q = RANDOM.uniform(0.1, 0.9, 12), RANDOM.uniform(0.1, 0.9, 12)
A = RANDOM.normal(size=(4, 6))
T = np.linspace(0.05, 1.0, 33) ** 2
SQUARE = A[:3, :3] @ A[:3, :3].T + np.eye(3)


def scipy_calls():
    """(those with derivatives, those of values alone): name -> function and arrays."""
    from scipy import (
        cluster,
        constants,
        differentiate,
        fft,
        integrate,
        interpolate,
        linalg,
        ndimage,
        optimize,
        signal,
        spatial,
        special,
        stats,
    )
    from scipy.cluster import hierarchy, vq
    from scipy.optimize import elementwise

    del cluster
    rotation = spatial.transform.Rotation
    derived = {
        "special.logsumexp": (special.logsumexp, X),
        "special.logsumexp with b": (
            lambda x, p: special.logsumexp(x, b=p, axis=0, return_sign=True)[0],
            *(X, P),
        ),
        "special.softmax": (lambda x: special.softmax(x, axis=-1), A),
        "special.log_softmax": (lambda x: special.log_softmax(x, axis=-1), A),
        **{
            f"special.{name}": (getattr(special, name), P)
            for name in (
                *("erf", "erfc", "erfinv", "erfcx", "gamma", "gammaln", "rgamma", "psi", "ndtr"),
                *("ndtri", "log_ndtr", "expit", "logit", "entr", "exp2", "exp10", "cbrt", "sinc"),
                *("i0", "i0e", "i1", "i1e", "j0", "j1", "y0", "y1", "k0", "k1"),
            )
        },
        **{
            f"special.{name}": (getattr(special, name), P, Q)
            for name in ("xlogy", "xlog1py", "rel_entr", "kl_div", "betaln")
        },
        "special.polygamma": (lambda x: special.polygamma(1, x), P),
        **{
            f"stats.{name}": (getattr(stats, name), P)
            for name in (
                *("gmean", "hmean", "skew", "kurtosis", "variation", "zscore", "gzscore", "sem"),
                *("circmean", "circvar", "circstd", "iqr", "median_abs_deviation"),
                *("differential_entropy", "false_discovery_control"),
            )
        },
        "stats.pmean": (lambda x: stats.pmean(x, 3), P),
        "stats.moment": (lambda x: stats.moment(x, [2, 3]), X),
        "stats.entropy": (stats.entropy, P, Q),
        "stats.zmap": (stats.zmap, X, Y),
        "stats.quantile": (lambda x: stats.quantile(x, 0.3), X),
        "stats.trim_mean": (lambda x: stats.trim_mean(x, 0.2), X),
        "stats.lmoment": (lambda x: stats.lmoment(x, order=2), X),
        "stats.jarque_bera": (lambda x: stats.jarque_bera(x).statistic, X),
        "stats.bartlett": (lambda x, y: stats.bartlett(x, y).statistic, X, Y),
        "stats.directional_stats": (lambda x: stats.directional_stats(x).mean_direction, A),
        "stats.boxcox_llf": (lambda x: stats.boxcox_llf(0.7, x), P),
        "signal.fftconvolve": (signal.fftconvolve, X, Y[:4]),
        "signal.oaconvolve": (signal.oaconvolve, T, Y[:4]),
        "signal.convolve by fft": (lambda x, y: signal.convolve(x, y, method="fft"), X, Y[:4]),
        "signal.hilbert": (signal.hilbert, X),
        "signal.resample": (lambda x: signal.resample(x, 20), X),
        "signal.freqz": (lambda x: signal.freqz(x, worN=16)[1], X),
        "signal.get_window": (lambda x: x * _like(signal.get_window("hamming", 12), x), X),
        "signal.gausspulse": (lambda x: signal.gausspulse(x, 5), T),
        **{
            f"fft.{name}": (getattr(fft, name), A)
            for name in ("fft", "fftn", "rfft", "rfftn", "ifft", "fftshift")
        },
        "fft.irfft": (lambda x: fft.irfft(x + 0j), X),
        "fft.hfft": (lambda x: fft.hfft(x + 0j), X),
        "fft.fht": (lambda x: fft.fht(x, 0.1, 1.0), X),
        "integrate.trapezoid": (integrate.trapezoid, X),
        "integrate.cumulative_trapezoid": (integrate.cumulative_trapezoid, X),
        "integrate.cumulative_simpson": (integrate.cumulative_simpson, X),
        "integrate.romb": (integrate.romb, T),
        "integrate.tanhsinh": (lambda x: integrate.tanhsinh(lambda s: s * s, 0 * x, x).integral, P),
        "differentiate.derivative": (lambda x: differentiate.derivative(lambda s: s**3, x).df, P),
        "optimize.elementwise.find_root": (
            lambda x: elementwise.find_root(lambda s, a: s**3 - a, (0 * x, 0 * x + 2), args=(x,)).x,
            P,
        ),
        "optimize.rosen": (optimize.rosen, X),
        "optimize.rosen_der": (optimize.rosen_der, X),
        "linalg.block_diag": (lambda x: linalg.block_diag(x, 2 * x), SQUARE),
        "cluster.vq.whiten": (vq.whiten, A),
        "spatial.transform.Rotation.from_quat": (
            lambda x: rotation.from_quat(x).as_matrix(),
            A[:, :4],
        ),
        "spatial.transform.Rotation.apply": (
            lambda x: rotation.from_rotvec(x).apply(x + 1),
            A[:, :3],
        ),
        "constants.convert_temperature": (lambda x: constants.convert_temperature(x, "C", "K"), X),
    }  # fmt: skip
    plain = {
        **{f"stats.{name}": (getattr(stats, name), X) for name in ("rankdata", "wilcoxon")},
        **{
            f"stats.{name}": (getattr(stats, name), X, Y)
            for name in (
                *("pearsonr", "spearmanr", "ttest_ind", "ttest_rel", "f_oneway", "kruskal"),
                *("mannwhitneyu", "levene", "brunnermunzel", "mood", "ansari", "alexandergovern"),
            )
        },
        "special.betainc": (special.betainc, P, Q, P),
        "special.stdtr": (special.stdtr, P, Q),
        "signal.convolve": (signal.convolve, X, Y[:4]),
        "signal.detrend": (signal.detrend, X),
        "signal.savgol_filter": (lambda x: signal.savgol_filter(x, 5, 2), X),
        "signal.medfilt": (signal.medfilt, X),
        "fft.dct": (fft.dct, X),
        "ndimage.gaussian_filter": (lambda x: ndimage.gaussian_filter(x, 1.0), A),
        "ndimage.laplace": (ndimage.laplace, A),
        "ndimage.convolve": (lambda x: ndimage.convolve(x, x[:3, :3]), A),
        "cluster.vq.vq": (lambda x: vq.vq(x, x[:2]), A),
        "cluster.vq.kmeans": (lambda x: vq.kmeans(x, x[:2]), A),
        "cluster.hierarchy.linkage": (hierarchy.linkage, A),
        "interpolate.CubicSpline": (lambda x: interpolate.CubicSpline(x, x**2)(x), T),
        "interpolate.make_interp_spline": (
            lambda x: interpolate.make_interp_spline(x, x**2)(x),
            T,
        ),
    }
    return derived, plain


def sklearn_calls():
    """As `scipy_calls`."""
    import sklearn
    from sklearn import (
        decomposition,
        discriminant_analysis,
        kernel_approximation,
        linear_model,
        metrics,
        mixture,
        model_selection,
        naive_bayes,
        preprocessing,
    )
    from sklearn.pipeline import make_pipeline

    sklearn.set_config(array_api_dispatch=True)
    features = RANDOM.normal(size=(30, 4))
    target = features @ np.array([1.0, 2.0, 3.0, 4.0]) + 0.1 * RANDOM.normal(size=30)
    labels, guess = (target > 0).astype(np.int64), RANDOM.uniform(0.1, 0.9, 30)
    ridge = linear_model.Ridge(alpha=0.5, solver="svd")
    pca = decomposition.PCA(2, svd_solver="full")
    scale = preprocessing.MinMaxScaler()

    def back_and_forth(x):
        return pca.inverse_transform(pca.fit_transform(x))

    derived = {
        "preprocessing.MinMaxScaler": (scale.fit_transform, features),
        "preprocessing.MaxAbsScaler": (preprocessing.MaxAbsScaler().fit_transform, features),
        "preprocessing.Normalizer": (preprocessing.Normalizer().fit_transform, features),
        "preprocessing.PolynomialFeatures": (
            preprocessing.PolynomialFeatures().fit_transform,
            features,
        ),
        "decomposition.PCA": (back_and_forth, features),
        "linear_model.Ridge": (lambda x, y: ridge.fit(x, y).predict(x), features, target),
        "linear_model.RidgeCV": (
            lambda x, y: linear_model.RidgeCV().fit(x, y).predict(x),
            *(features, target),
        ),
        "discriminant_analysis.LinearDiscriminantAnalysis": (
            lambda x: (
                discriminant_analysis.LinearDiscriminantAnalysis()
                .fit(x, _like(labels, x))
                .predict_proba(x)
            ),
            features,
        ),
        "naive_bayes.GaussianNB": (
            lambda x: naive_bayes.GaussianNB().fit(x, _like(labels, x)).predict_proba(x),
            features,
        ),
        "mixture.GaussianMixture": (
            lambda x: (
                mixture.GaussianMixture(2, init_params="random", random_state=0, max_iter=5)
                .fit(x)
                .means_
            ),
            features,
        ),
        "kernel_approximation.Nystroem": (
            kernel_approximation.Nystroem(n_components=5, random_state=0).fit_transform,
            features,
        ),
        "pipeline.make_pipeline": (
            lambda x, y: make_pipeline(scale, pca, ridge).fit(x, y).predict(x),
            *(features, target),
        ),
        "model_selection.cross_val_predict": (
            lambda x, y: model_selection.cross_val_predict(ridge, x, y),
            *(features, target),
        ),
        **{
            f"metrics.pairwise.{name}": (getattr(metrics.pairwise, name), features)
            for name in (
                *("rbf_kernel", "cosine_similarity", "linear_kernel", "polynomial_kernel"),
                *("sigmoid_kernel", "laplacian_kernel", "manhattan_distances"),
            )
        },
    }
    plain = {
        "preprocessing.StandardScaler": (preprocessing.StandardScaler().fit_transform, features),
        "linear_model.LogisticRegression": (
            lambda x, y: linear_model.LogisticRegression().fit(x, y).predict(x),
            *(features, labels),
        ),
        "metrics.mean_squared_error": (metrics.mean_squared_error, target, guess),
        "metrics.r2_score": (metrics.r2_score, target, guess),
        "metrics.log_loss": (metrics.log_loss, labels, guess),
        "metrics.roc_auc_score": (metrics.roc_auc_score, labels, guess),
        "metrics.accuracy_score": (metrics.accuracy_score, labels, labels[::-1].copy()),
        "metrics.f1_score": (metrics.f1_score, labels, labels[::-1].copy()),
        "metrics.confusion_matrix": (metrics.confusion_matrix, labels, labels[::-1].copy()),
    }
    return derived, plain


def _like(array, x):
    """An array of NumPy's, as a Tensor where x is one."""
    return Tensor(array) if isinstance(x, Tensor) else array


def parts(result):
    """The arrays and numbers of a result, which may be a tuple or an object with a p-value."""
    if hasattr(result, "pvalue"):
        return [result.statistic, result.pvalue]
    if isinstance(result, (list, tuple)):
        return [leaf for part in result for leaf in parts(part)]
    return [result]


def _value(part):
    return part.numpy() if isinstance(part, Tensor) else np.asarray(part)


def compare_values(function, *arrays):
    """Whether a call on untracked Tensors gives the numbers that it gives on arrays."""
    expected = parts(function(*arrays))
    found = parts(function(*[Tensor(x.copy()) for x in arrays]))
    assert any(isinstance(y, Tensor) for y in found) or expected[0].__class__ is float, "no Tensor"
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(_value(own), other, rtol=1e-10, atol=1e-12)


def compare_derivatives(function, *arrays):
    """Whether the gradient of a weighted sum has the slope in a random direction that is seen."""
    rng = np.random.default_rng(1)
    weights = [rng.uniform(0.5, 1.5, np.shape(_value(y))) for y in parts(function(*arrays))]

    def total(*xs):
        ys = parts(function(*xs))
        assert not isinstance(xs[0], Tensor) or ys[0].tracked, "untracked"
        return sum((abs(y) * w).sum() for y, w in zip(ys, weights, strict=True))

    gradients = tapegrad.grad(total, tuple(range(len(arrays))))(*arrays)
    ways = [rng.uniform(-1, 1, x.shape) for x in arrays]
    up, down = (
        float(total(*[x + step * way for x, way in zip(arrays, ways, strict=True)]))
        for step in (1e-6, -1e-6)
    )
    found = sum(float((g * way).sum()) for g, way in zip(gradients, ways, strict=True))
    np.testing.assert_allclose(found, (up - down) / 2e-6, rtol=1e-5, atol=1e-6)


def main(library: str) -> None:
    """Make all calls of a library and print what went wrong with each."""
    derived, plain = {"scipy": scipy_calls, "sklearn": sklearn_calls}[library]()
    wrong = {"derived": {}, "plain": {}}
    for name, (function, *arrays) in {**derived, **plain}.items():
        kind, text = "derived" if name in derived else "plain", ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compare_values(function, *arrays)
                if name in derived:
                    compare_derivatives(function, *arrays)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
            text = f"{type(error).__name__}: {error}"[:300]
        wrong[kind][name] = text
    json.dump(wrong, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
