"""What a reader of `lab linear` has to know first: the problem, the derivation of the step, the methods."""

from __future__ import annotations

PROBLEM = (
    "A linear model predicts y from five inputs as x1 w1 + ... + x5 w5. Three points are given, each a row "
    "of X, and weights W are wanted so that X W = y:"
)
MATRICES = """\
     1  -2  -1  -1   1           7
X =  2  -1   2   0  -2      y =  1
    -1   0   2   2   1           1"""
QUESTION = (
    "These are three equations with five unknowns, so infinitely many W fit exactly. We also know that the "
    "true W is **sparse**: at most two of its weights are not zero. How can an optimiser be led to it? The "
    "same question stands behind the pruning of a network, with millions of weights instead of five; here "
    "every step can be looked at."
)

DERIVATION = (
    "The loss L says how wrong W is; X_i is the i-th row of X. Gradient descent needs its derivative by "
    "every weight. When w_j changes by 1, the prediction X_i W changes by X_ij, so the chain rule gives the "
    "second line. For all j at once that sum is a product of matrices, the gradient. A step goes against it, "
    "with the learning rate μ:"
)
STEP = """\
L(W)    = Σ_i (X_i W - y_i)²
∂L/∂w_j = Σ_i 2 (X_i W - y_i) X_ij
∇L(W)   = 2 Xᵀ(X W - y)
W       ← W - 2 μ Xᵀ(X W - y)"""

METHODS = (
    {
        "method": "gradient",
        "step": "W ← G",
        "in words": "The loss alone; nothing asks for zeros.",
    },
    {
        "method": "projected",
        "step": "W ← the 2 largest |G_j|, all others 0",
        "in words": "After every step, the nearest W with two non-zeros; of equals the lower index stays.",
    },
    {
        "method": "subgradient",
        "step": "W ← G - μ λ sign(W)",
        "in words": "Gradient descent on L + λ (|w1| + ... + |w5|). At 0, where |w| has no slope, 0 is used.",
    },
    {
        "method": "proximal",
        "step": "w_j ← sign(G_j) max(|G_j| - t, 0)",
        "in words": "The same objective with λ = t / μ, but |w| is minimised exactly: the soft threshold t.",
    },
    {
        "method": "trimmed",
        "step": "the same, but the 2 largest |G_j| stay as they are",
        "in words": "Only the three smallest are shrunk: trimmed L1.",
    },
)

DESIGN = (
    "Five weights can be looked at; whether a method works shows on many problems of which the answer is "
    "known. Here X is 100 x 400 with normal entries, every column scaled to the norm √100; 10 of the 400 "
    "true weights are uniform in ±[1, 2], the others zero; y = X w + noise of standard deviation σ = 0.5. "
    "The objective is ||X w - y||² / 200 + r(w), the penalty r is what differs, and a true positive is a "
    "weight rightly found to be not zero.",
    "**What is compared?** Lasso is L1, λ Σ|w_j|. Trimmed L1 leaves the k largest weights out of that sum. "
    "MCP begins like λ |w_j| and is flat beyond γ λ, so that a large weight costs no more for being larger. "
    "The hard threshold is projected gradient, which keeps k. Hoyer-square, (Σ|w_j|)² / Σ w_j², counts the "
    "weights that matter. Refitted means least squares on the support that was found.",
    "**How strong a penalty?** No strength here is tuned on the truth. λ = σ √(2 ln 400 / 100) is the size "
    "that the largest of 400 correlations with pure noise has (Donoho and Johnstone 1994): below it noise "
    "comes in. Theory for the lasso asks for up to twice that (Bickel, Ritov and Tsybakov 2009), so it runs "
    "at λ and 2 λ. σ is known here because we made the noise; in practice it is estimated. Trimmed L1 and "
    "MCP (γ = 3) take the same λ. Two rows know the truth, as references; they are no methods.",
)

GROUPS = (
    "The same with the 10 non-zeros in two of 80 groups of five neighbours. The strength of the group "
    "penalties is σ (1 + √(2 ln 80 / 5)) / √100: what the noise does to the norm of the largest group.",
)
