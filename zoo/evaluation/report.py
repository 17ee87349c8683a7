"""What `zoo.evaluate` prints."""


def table(result):
    """The result of `zoo.evaluate.evaluate` as text."""
    lines = [f"{result['model']} on {result['dataset']} {result['split']}, one crop"]
    if result["corruption"]:
        lines[0] += f", {result['corruption']}"
    if "shared" in result:
        lines += _shared_lines(result)
    for part in ("all", "without_duplicates"):
        values = result[part]
        if values is None and result.get("without_train"):
            lines += ["", "duplicates of training images: unknown, train is not there"]
            continue
        if values is None:
            lines += ["", f"{part.replace('_', ' ')}: every image occurs in train"]
            continue
        lines += [
            "",
            f"{part.replace('_', ' ')}, n = {values['n']:,}",
            "accuracy {accuracy:.2f} %  macro-F1 {macro_f1:.2f} %  UAR {uar:.2f} %  "
            "NLL {nll:.4f}".format(**values),
            "ABAW score {abaw:.2f} %  Brier {brier:.4f}  ECE {ece:.2f} %".format(
                **values
            ),
            "95 % of {resamples:,} resamples: accuracy {accuracy[0]:.2f} to "
            "{accuracy[1]:.2f}  macro-F1 {macro_f1[0]:.2f} to {macro_f1[1]:.2f}  "
            "UAR {uar[0]:.2f} to {uar[1]:.2f}".format(**values["intervals"]),
            " " * 11 + " precision    recall        F1     faces",
        ]
        for label, row in values["per_class"].items():
            lines.append(
                f"{label:>10} {row['precision']:>10.2f}{row['recall']:>10.2f}"
                f"{row['f1']:>10.2f}{row['support']:>10,}"
            )
        absent = [k for k, row in values["per_class"].items() if not row["support"]]
        if absent:
            lines.append(f"no faces, counted as 0 in the averages: {', '.join(absent)}")
        lines += [
            "confusion (rows: truth, columns: prediction)",
            " " * 11 + "".join(f"{label[:9]:>10}" for label in result["labels"]),
        ]
        for label, row in zip(result["labels"], values["confusion"], strict=True):
            lines.append(f"{label:>10} " + "".join(f"{count:>10}" for count in row))
    if "balanced" in result:
        balanced = result["balanced"]
        lines += [
            "",
            f"balanced, tau = {balanced['tau']:g}",
            "accuracy {accuracy:.2f} %  macro-F1 {macro_f1:.2f} %  "
            "UAR {uar:.2f} %".format(**balanced["all"]),
        ]
    change = result["batch_independence"]
    lines += [
        "",
        f"largest change of a probability with the batch: {change:.1e}",
    ]
    for kind, row in result.get("by_kind", {}).items():
        lines.append(f"{kind:>18} accuracy {row['accuracy']:.2f} %, n = {row['n']:,}")
    if "temperature" in result:
        fitted = result["temperature"]
        lines += ["", _advice(fitted["stored"], fitted["fitted"])]
        for part in ("validation", "all"):
            lines.append(f"{part}, n = {fitted[part]['n']:,}")
            for which in ("uncalibrated", "stored", "fitted"):
                row = fitted[part][which]
                lines.append(
                    f"{which:>18} NLL {row['nll']:.4f}  ECE {row['ece']:.2f} %"
                )
    return "\n".join(lines)


def _shared_lines(result):
    """What was left out where the labels differ."""
    shared = result["shared"]
    lines = [f"scored on the {len(result['labels'])} shared labels, renormalized"]
    if shared["model_only"]:
        lines.append(
            f"labels of the model alone: {', '.join(shared['model_only'])}; they had "
            f"{shared['removed_probability']:.2f} % of the probability, and with them "
            f"accuracy is {shared['accuracy_of_all_labels']:.2f} %"
        )
    if shared["dataset_only"]:
        lines.append(
            f"labels of the dataset alone: {', '.join(shared['dataset_only'])}; "
            f"{shared['excluded']:,} images were left out"
        )
    return lines


def _advice(stored, fitted):
    """Which temperature the model should have."""
    if abs(stored - fitted) <= 1e-3:
        return (
            f"temperature {stored:.4f} is stored, and fits the validation part "
            f"({fitted:.4f})"
        )
    return (
        f"temperature {fitted:.4f} fits the validation part, but {stored:.4f} is "
        "stored: run with --store for a .keras file, or promote the run again for a "
        "preset"
    )
