#!/usr/bin/python3
"""Loss cases of our own: tests/golden/losses/*.json, by automatic differentiation in float64.

Run with Debian's python3-torch (1.13): /usr/bin/python3 tests/golden/make_losses.py
Every loss is written here from its formula with dense B x C or B x B tensors, masks and sorting, and
shares no code and no order of computation with train/losses. The vocabulary is check_loss's.
"""
import json
import math
import os

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "losses")


def draw(seed, *shape, scale=1.0):
    """Normal numbers on a grid of 1/1024, so that float and double read the same inputs."""
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=g) * scale * 1024).round() / 1024


def labels_of(batch, classes, per=2):
    return [(i // per * 7 + 3) % classes for i in range(batch)]


def emit(name, method, options, inputs, labels, function, about, tiny=False):
    leaves = {k: v.clone() for k, v in inputs.items()}
    students = [k for k in leaves if k in ("z_student", "f_student", "W", "map")]
    for k in students:
        leaves[k].requires_grad_(True)
    loss = function(leaves, torch.tensor(labels))
    grads = torch.autograd.grad(loss, [leaves[k] for k in students], allow_unused=True)
    gradient = {k: (torch.zeros_like(leaves[k]) if g is None else g).tolist() for k, g in zip(students, grads)}
    assert math.isfinite(loss.item()), name
    largest = max(torch.tensor(g).abs().max().item() for g in gradient.values())
    assert tiny or largest > 1e-9, name
    case = {"name": name, "method": method, "options": options, "about": about,
            "inputs": {**{k: v.tolist() for k, v in inputs.items()}, "labels": labels},
            "loss": loss.item(), "grad_analytic": gradient}
    with open(os.path.join(HERE, name + ".json"), "w") as f:
        json.dump(case, f, separators=(",", ":"))
        f.write("\n")


# ---------------------------------------------------------------- class losses

def kl(p, log_p, log_q):
    return (torch.where(p > 0, p * (log_p - log_q), torch.zeros_like(p))).sum(1)


def kd(T, T2):
    def f(x, y):
        lp, lq = F.log_softmax(x["z_teacher"] / T, 1), F.log_softmax(x["z_student"] / T, 1)
        return kl(lp.exp(), lp, lq).mean() * (T * T if T2 else 1)
    return f


def choose_k(z, o):
    """k per row, by the rules of GKD."""
    B, C = z.shape
    if o["selection"] == "fixed":
        return [min(o["k"], C)] * B
    q = F.softmax(z / o["selection_T"], 1)
    if o["selection"] == "sample":
        mass = q.sort(1, descending=True)[0].cumsum(1)
        return ((mass - o["tau"]).abs().argmin(1) + 1).tolist()
    mass = q.sum(0).sort(descending=True)[0].cumsum(0)
    for k in range(1, C + 1, o["step"]):
        if mass[k - 1] >= o["tau"] * B:
            return [k] * B
    return [C] * B


def mask_of(z, y, o):
    ranked = z.detach().clone()
    ks = choose_k(ranked, o)
    if o["force_label"]:
        ranked[torch.arange(len(y)), y] = 1e6
    order = ranked.sort(dim=1, descending=True, stable=True)[1]  # equal values by class
    mask = torch.zeros_like(ranked, dtype=torch.bool)
    for i, k in enumerate(ks):
        mask[i, order[i, :k]] = True
    return mask


def lam(value, P):
    return P if value == "p_phi" else 1 - P if value == "1-p_phi" else torch.full_like(P, value)


def gkd_value(zs, zt, y, o, phi=None):
    T = o["T"]
    phi = mask_of(zs, y, o) if phi is None else phi
    a, b = zs / T, zt / T
    inf = float("inf")

    def group(z, m):
        return z.masked_fill(~m, -inf)
    total = 0
    P = F.softmax(b, 1).mul(phi).sum(1)
    for i in range(len(y)):
        mi, rest = phi[i], ~phi[i]
        ph, qh = F.log_softmax(b[i][mi], 0), F.log_softmax(a[i][mi], 0)
        row = lam(o["lambda_primary"], P)[i] * (ph.exp() * (ph - qh)).sum()
        if rest.any():
            pc, qc = F.log_softmax(b[i][rest], 0), F.log_softmax(a[i][rest], 0)
            row = row + lam(o["lambda_secondary"], P)[i] * (pc.exp() * (pc - qc)).sum()
            lP = [torch.logsumexp(b[i][m], 0) - torch.logsumexp(b[i], 0) for m in (mi, rest)]
            lQ = [torch.logsumexp(a[i][m], 0) - torch.logsumexp(a[i], 0) for m in (mi, rest)]
            row = row + lam(o["lambda_binary"], P)[i] * sum(p.exp() * (p - q) for p, q in zip(lP, lQ))
        total = total + row
    return total / len(y) * (T * T if o["T2"] else 1)


def gkd(o):
    return lambda x, y: gkd_value(x["z_student"], x["z_teacher"], y, o)


def gkd_teacher(o):
    """The teacher's list: the label and its k - 1 largest others, or its k largest."""
    def f(x, y):
        ranked = {"selection": "fixed", "k": o["k"], "force_label": o["force_label"]}
        full = {"T": o["temperature"], "T2": o["t_squared"], "lambda_primary": o["lambda_primary"],
                "lambda_binary": o["lambda_binary"], "lambda_secondary": 0.0}
        return gkd_value(x["z_student"], x["z_teacher"], y, full, mask_of(x["z_teacher"], y, ranked))
    return f


def tail(o):
    def f(x, y):
        T, K = o["T"], o["K"]
        zt, zs = x["z_teacher"], x["z_student"]
        C = zt.shape[1]
        index = zt.argsort(1, descending=True)[:, :K]
        p, lq = F.softmax(zt / T, 1).gather(1, index), F.log_softmax(zs / T, 1)
        lqk = lq.gather(1, index)
        rest = 1 - p.sum(1)
        if o["tail"] == "one_bin":
            lqr = torch.log1p(-lqk.exp().sum(1))
            L = (p * (p.log() - lqk)).sum(1) + rest * (rest.log() - lqr)
        elif o["tail"] == "uniform":
            full = (rest / (C - K))[:, None].expand(-1, C).clone().scatter(1, index, p)
            L = (full * (full.log() - lq)).sum(1)
        elif o["tail"] == "zero":
            L = (p * (p.log() - lqk)).sum(1)
        else:
            p = p / p.sum(1, keepdim=True)
            L = (p * (p.log() - lqk)).sum(1)
        return L.mean() * (T * T if o["T2"] else 1)
    return f


def margin_logits(f, W, y, o):
    c = F.normalize(f) @ F.normalize(W).T
    cy = c[torch.arange(len(y)), y]
    m = o["m"]
    if o["head"] == "cosface":
        phi = cy - m
    elif o["head"] == "arcface":
        phi = torch.cos(torch.arccos(cy) + m)
        other = cy if o.get("easy") else cy - m * math.sin(m)
        keep = cy > 0 if o.get("easy") else cy > math.cos(math.pi - m)
        phi = torch.where(keep, phi, other)
    elif o["head"] == "sphereface":
        theta = torch.arccos(cy)
        k = (m * theta / math.pi).floor().detach()
        phi = (o["lambda"] * cy + (-1) ** k * torch.cos(m * theta) - 2 * k) / (1 + o["lambda"])
    elif o["head"] == "curricularface":
        phi = torch.cos(torch.arccos(cy) + m)
        hard = c > phi.detach()[:, None]
        c = torch.where(hard, c * (o["t"] + c), c)
        phi = torch.where(cy > math.cos(math.pi - m), phi, cy - m * math.sin(m))
    else:
        phi = cy
    onehot = F.one_hot(y, c.shape[1]).bool()
    return o["s"] * torch.where(onehot, phi[:, None], c)


def head(o):
    return lambda x, y: F.cross_entropy(margin_logits(x["f_student"], x["W"], y, o), y)


def ce_gkd(o):
    def f(x, y):
        zs = margin_logits(x["f_student"], x["W"], y, o)
        plain = {**o, "head": "softmax"}
        zk = zs if o["margin_in_kd"] else margin_logits(x["f_student"], x["W"], y, plain)
        zt = margin_logits(x["f_teacher"], x["W_teacher"], y, o if o["margin_in_kd"] else plain)
        return F.cross_entropy(zs, y) + o["ramp"] * gkd_value(zk, zt, y, o)
    return f


# ----------------------------------------------------------------- pair losses

def rows_of(x, o):
    s, t = x["f_student"], x["f_teacher"]
    return (F.normalize(s), F.normalize(t)) if o.get("normalise", True) else (s, t)


def distances(e):
    """Off-diagonal distances by difference, not by Gram."""
    d = (e[:, None] - e[None]).pow(2).sum(2)
    eye = torch.eye(len(e), dtype=torch.bool)
    return d.masked_fill(eye, 1).sqrt().masked_fill(eye, 0)


def rkd_d(o):
    def f(x, y):
        s, t = [distances(e) for e in rows_of(x, o)]
        n = len(y) * (len(y) - 1)
        if o["mean_scale"]:
            s, t = s / (s.sum() / n), t / (t.sum() / n)
        return F.smooth_l1_loss(s, t, reduction="sum") / (n if o["denom"] == "B*(B-1)" else len(y) ** 2)
    return f


def rkd_a(o):
    def f(x, y):
        angles = []
        for e in rows_of(x, o):
            n = F.normalize(e[None] - e[:, None], dim=2)
            angles.append(torch.einsum("ijd,ikd->ijk", n, n))
        return F.smooth_l1_loss(*angles)
    return f


def rkd_da(o):
    return lambda x, y: o["w_d"] * rkd_d(o)(x, y) + o["w_a"] * rkd_a(o)(x, y)


def darkrank(o):
    def f(x, y):
        s, t = [distances(e) for e in rows_of(x, o)]
        total = 0
        for i in range(len(y)):
            order = [j for j in t[i].argsort().tolist() if j != i][:o["length"]]
            score = -o["alpha"] * s[i, order] ** o["beta"]
            for a in range(len(order)):
                total = total + torch.logsumexp(score[a:], 0) - score[a]
        return total / len(y)
    return f


def sp(o):
    def f(x, y):
        if o["rows"] == "unit_embeddings":
            s, t = [e @ e.T for e in (F.normalize(x["f_student"]), F.normalize(x["f_teacher"]))]
        else:
            s, t = [F.normalize(e @ e.T) for e in (x["f_student"], x["f_teacher"])]
        return (s - t).pow(2).mean()
    return f


def cckd(o):
    def K(e):
        s, g = F.normalize(e) @ F.normalize(e).T, o["gamma"]
        return math.exp(-2 * g) * sum((2 * g) ** p / math.factorial(p) * s ** p for p in range(o["P"] + 1))
    return lambda x, y: (K(x["f_student"]) - K(x["f_teacher"])).pow(2).mean()


def upper(x):
    i, j = torch.triu_indices(len(x["f_student"]), len(x["f_student"]), 1)
    s, t = [(F.normalize(e) @ F.normalize(e).T)[i, j] for e in (x["f_student"], x["f_teacher"])]
    return i, j, s, t


def ekd(o):
    def f(x, y):
        i, j, s, t = upper(x)
        same = y[i] == y[j]
        levels = []
        for score, before in ((s.detach(), o["prev_t_student"]), (t, o["prev_t_teacher"])):
            ranked = score[~same].sort(descending=True)[0]
            now = torch.tensor([ranked[int(len(ranked) / r)].item() if int(len(ranked) / r) < len(ranked) else ranked[-1].item()
                                for r in o["inv_fpr"]])
            levels.append(o["ema_alpha"] * torch.tensor(before) + (1 - o["ema_alpha"]) * now)
        total = 0
        negatives = (~same).nonzero()[:, 0]
        hard = negatives[s.detach()[negatives].argsort(descending=True)[:o["n_hard"]]]
        for which, weight in ((same.nonzero()[:, 0], o["lambda_pos"]), (hard, o["lambda_neg"])):
            a, b = s[which, None] - levels[0], t[which, None] - levels[1]
            if o["critical_only"]:
                keep = ((a.detach() > 0) != (b > 0)).any(1)
                a, b = a[keep], b[keep]
            if len(a) == 0:
                continue
            ra, rb = [torch.sigmoid((v / o["tau"]).clamp(-50, 50)).sum(1) for v in (a, b)]
            gap = (a - b).abs().sum(1) if o["form"] == "eq7_abs" else (ra - rb).abs() if o["form"] == "eq11_abs" else (ra - rb) ** 2
            total = total + weight * gap.mean()
        return total
    return f


def pwr(o):
    def f(x, y):
        _, _, s, t = upper(x)
        ordered = t[:, None] > t[None]
        v = s[None] - s[:, None]
        mu = {"const": o.get("margin_value"), "teacher_std": t.std(unbiased=False), "teacher_diff": t[:, None] - t[None]}.get(o.get("margin"))
        if o["loss"] == "ranknet":
            L = F.softplus(o["beta"] * v, threshold=1000)
        elif o["loss"] == "exp":
            L = (torch.exp(o["beta"] * (v + mu)) - 1).clamp(min=0)
        else:
            L = (v + mu).clamp(min=0) ** o["power"]
        return L[ordered].mean()
    return f


def embedding(o):
    def f(x, y):
        s = x["f_student"] @ x["map"].T if "map" in x else x["f_student"]
        if o["kind"] == "mse_raw":
            return F.mse_loss(s, x["f_teacher"])
        if o["kind"] == "mse_unit":
            return (F.normalize(s) - F.normalize(x["f_teacher"])).pow(2).sum() / (2 * len(s))
        c = F.cosine_similarity(s, x["f_teacher"])
        return {"cos": 1 - c, "cos_sq": (1 - c) ** 2, "l2": 2 - 2 * c}[o["kind"]].mean()
    return f


def triplet(o):
    def D(e):
        s = F.normalize(e) @ F.normalize(e).T
        return 2 - 2 * s if o["metric"] == "l2sq" else torch.arccos(s.clamp(-1 + 1e-7, 1 - 1e-7))

    def f(x, y):
        s, t = D(x["f_student"]), D(x["f_teacher"])
        a, p, n = torch.tensor(o["triplets"]).T
        gap = (t[a, n] - t[a, p]).clamp(min=0)
        return (s[a, p] - s[a, n] + o["m_min"] + (o["m_max"] - o["m_min"]) * gap / gap.max()).clamp(min=0).mean()
    return f


# ----------------------------------------------------------------------- cases

def logits(seed, B, C, scale=12.0):
    return {"z_student": draw(seed, B, C, scale=scale), "z_teacher": draw(seed + 1, B, C, scale=scale)}


def pair(seed, B, D, DT):
    return {"f_student": draw(seed, B, D), "f_teacher": draw(seed + 1, B, DT)}


def class_cases():
    for C in (1, 2, 101):
        x, y = logits(C, 5, C), labels_of(5, C)
        emit(f"kd_C{C}", "kd", {"T": 3.0, "T2": False}, x, y, kd(3.0, False), "plain KL at T, no T^2", tiny=C == 1)
    base = {"T": 2.0, "T2": True, "lambda_primary": 8.0, "lambda_binary": 1.0, "lambda_secondary": 0.0}
    variants = {
        "sample_forced": {"selection": "sample", "tau": 0.8, "selection_T": 2.0, "force_label": True},
        "batch_step7": {"selection": "batch", "tau": 0.93, "selection_T": 1.0, "step": 7, "force_label": True},
        "batch_to_C": {"selection": "batch", "tau": 0.999, "selection_T": 9.0, "step": 60, "force_label": False},
        "fixed_free": {"selection": "fixed", "k": 12, "force_label": False},
        "three_lambdas": {"selection": "fixed", "k": 30, "force_label": True, "lambda_primary": "p_phi", "lambda_binary": 2.5, "lambda_secondary": "1-p_phi"},
    }
    for i, (name, o) in enumerate(variants.items()):
        o = {**base, **o}
        emit("gkd_" + name, "gkd", o, logits(20 + 2 * i, 7, 101), labels_of(7, 101), gkd(o), "GKD, all terms masked and summed directly")
    o = {**base, "T": 1.0, "selection": "fixed", "k": 4, "force_label": True}
    emit("gkd_T1_steep", "gkd", o, logits(40, 6, 37, scale=30.0), labels_of(6, 37), gkd(o), "T = 1 with logits up to +-90: masses underflow in float")
    o = {"k": 9, "temperature": 4.0, "t_squared": True, "margin": False, "force_label": True, "lambda_primary": 8.0, "lambda_binary": 1.0}
    emit("gkd_teacher", "gkd_teacher", o, logits(44, 7, 101), labels_of(7, 101), gkd_teacher(o), "primary set ranked by the teacher")
    o = {**o, "force_label": False, "temperature": 2.0}
    emit("gkd_teacher_free", "gkd_teacher", o, logits(46, 6, 37), labels_of(6, 37), gkd_teacher(o), "the label may be missing from the set")
    for t in ("one_bin", "uniform", "zero", "renormalised"):
        o = {"T": 4.0, "K": 6, "tail": t, "T2": True}
        emit("topk_" + t, "kd_topk_tail", o, logits(50, 7, 33), labels_of(7, 33), tail(o), "teacher known at its top-k: " + t)


def head_cases():
    heads = {
        "arcface_easy": {"head": "arcface", "s": 20.0, "m": 0.5, "easy": True, "slope": "exact"},
        "softmax": {"head": "softmax", "s": 30.0, "m": 0.0, "easy": False, "slope": "exact"},
        "sphereface_m3": {"head": "sphereface", "s": 30.0, "m": 3, "easy": False, "slope": "exact", "lambda": 2.0},
        "curricularface_t": {"head": "curricularface", "s": 32.0, "m": 0.4, "easy": False, "slope": "exact", "t": 0.3},
    }
    for i, (name, o) in enumerate(heads.items()):
        x = {"f_student": draw(60 + i, 9, 5), "W": draw(70 + i, 13, 5)}
        emit("head_" + name, "head_ce", o, x, labels_of(9, 13), head(o), "cross-entropy over margin logits, to f and W")
    o = {"head": "arcface", "s": 64.0, "m": 0.5, "easy": False, "slope": "exact"}
    emit("head_C1", "head_ce", o, {"f_student": draw(80, 3, 5), "W": draw(81, 1, 5)}, [0, 0, 0], head(o), "one class", tiny=True)
    base = {"s": 24.0, "margin_in_kd": True, "T": 4.0, "T2": True, "selection": "fixed", "k": 9, "force_label": True,
            "lambda_primary": 8.0, "lambda_binary": 1.0, "lambda_secondary": 0.0, "ramp": 0.5}
    for i, o in enumerate(({"head": "cosface", "m": 0.4}, {"head": "arcface", "m": 0.5}, {"head": "cosface", "m": 0.35, "margin_in_kd": False})):
        o = {**base, **o}
        x = {"f_student": draw(90 + i, 6, 5), "f_teacher": draw(93 + i, 6, 7), "W": draw(96 + i, 23, 5), "W_teacher": draw(99 + i, 23, 7)}
        emit(f"ce_plus_gkd_{o['head']}_{'margin' if o['margin_in_kd'] else 'plain'}", "ce_plus_gkd", o, x, labels_of(6, 23), ce_gkd(o), "CE + ramp * GKD through both heads")


def pair_cases():
    B = 11
    y = labels_of(B, 1000)
    triplets = [[0, 1, 4], [2, 3, 9], [5, 4, 1], [6, 7, 10], [8, 9, 0]]
    ekd_base = {"inv_fpr": [10, 100, 1000], "ema_alpha": 0.9, "n_hard": 17, "lambda_pos": 0.02, "lambda_neg": 0.01, "critical_only": False, "tau": 0.1,
                "prev_t_student": [0.25, 0.5, 0.625], "prev_t_teacher": [0.125, 0.375, 0.75]}
    cases = [
        ("sp_rownorm", "sp", {"rows": "raw_gram_rows_normalised"}, sp), ("cckd_P4", "cckd", {"gamma": 0.7, "P": 4}, cckd),
        ("rkd_d_raw_pairs", "rkd_d", {"normalise": False, "mean_scale": True, "denom": "B*(B-1)"}, rkd_d),
        ("rkd_da", "rkd_da", {"normalise": False, "mean_scale": True, "denom": "B*B", "w_d": 25.0, "w_a": 50.0}, rkd_da),
        ("darkrank_raw", "darkrank", {"normalise": False, "alpha": 0.2, "beta": 2.0, "length": 4}, darkrank),
        ("darkrank_long", "darkrank", {"normalise": True, "alpha": 3.0, "beta": 3.0, "length": 40}, darkrank),
        ("ekd_eq7", "ekd", {**ekd_base, "form": "eq7_abs", "critical_only": True}, ekd), ("ekd_eq11", "ekd", {**ekd_base, "form": "eq11_abs"}, ekd),
        ("ekd_sq_critical", "ekd", {**ekd_base, "form": "eq11_sq", "critical_only": True, "tau": 0.05}, ekd),
        ("pwr_power2", "pwr", {"loss": "power", "power": 2.0, "margin": "const", "margin_value": 0.1}, pwr),
        ("pwr_power25", "pwr", {"loss": "power", "power": 2.5, "margin": "teacher_diff"}, pwr),
        ("pwr_exp_std", "pwr", {"loss": "exp", "beta": 2.0, "margin": "teacher_std"}, pwr), ("pwr_ranknet_steep", "pwr", {"loss": "ranknet", "beta": 20.0}, pwr),
    ]
    for i, (name, method, o, loss) in enumerate(cases):
        emit(name, method, o, pair(200 + 2 * i, B, 6, 9), y, loss(o), "from the formula, by automatic differentiation")
    for i, kind in enumerate(("cos", "cos_sq", "l2", "mse_raw")):
        emit("embedding_" + kind, "embedding", {"kind": kind}, pair(300 + 2 * i, 3, 5, 5), [1, 1, 2], embedding({"kind": kind}), "row by row")
    for i, kind in enumerate(("cos_sq", "mse_raw", "mse_unit")):
        x = {**pair(330 + 2 * i, 5, 6, 9), "map": draw(340 + i, 9, 6, scale=0.25)}
        emit("embedding_map_" + kind, "embedding", {"kind": kind}, x, labels_of(5, 9), embedding({"kind": kind}), "through a linear map, to f and the map")
    o = {"metric": "angle", "m_min": 0.2, "m_max": 0.5, "triplets": triplets}
    emit("triplet_angle", "triplet", o, pair(310, B, 6, 6), y, triplet(o), "angles, teacher-scaled margin")
    o = {"normalise": True, "mean_scale": True, "denom": "B*B"}
    emit("rkd_d_B2", "rkd_d", o, pair(320, 2, 5, 4), [0, 1], rkd_d(o), "two images: mean scaling makes all distances 1", tiny=True)


if __name__ == "__main__":
    os.makedirs(HERE, exist_ok=True)
    class_cases()
    head_cases()
    pair_cases()
