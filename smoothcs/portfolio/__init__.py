"""What attackers cost a whole portfolio, if the answer comes from one noisy copy."""

from smoothcs.portfolio._certify import PortfolioCertificate as PortfolioCertificate
from smoothcs.portfolio._certify import certify_portfolio as certify_portfolio
from smoothcs.portfolio._monitor import BudgetExceeded as BudgetExceeded
from smoothcs.portfolio._monitor import MonitorStatus as MonitorStatus
from smoothcs.portfolio._monitor import PortfolioMonitor as PortfolioMonitor
from smoothcs.portfolio._plan import PlanOption as PlanOption
from smoothcs.portfolio._plan import PortfolioPlan as PortfolioPlan
from smoothcs.portfolio._plan import plan_portfolio as plan_portfolio
