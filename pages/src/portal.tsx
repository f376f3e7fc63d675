/** The pages over all runs: the portal of an environment, and the page of one project. */

import "./style.css";
import "./portal.css";
import "uplot/dist/uPlot.min.css";

import { render } from "preact";

import { Portal } from "./portal_page";
import { Project } from "./project_page";

const page = document.body.dataset.page === "project" ? <Project name={new URLSearchParams(location.search).get("name") ?? ""} /> : <Portal />;
render(page, document.getElementById("page")!);
